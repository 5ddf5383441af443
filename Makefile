# The front door: `make` alone explains itself. Everything happens in $(VENV), which is made on
# demand and refreshed when pyproject.toml or constraints.txt change.

# A recipe stops at its first error; .SHELLFLAGS would say so too, but not to the make of macOS (3.81).
SHELL := .ci/strict-bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
RECIPE ?= mobile
PROMPT ?= telephone ringing on the right
COUNT ?= 20000
DEFAULT_CHECKPOINT := checkpoints/embedded
CHECKPOINT ?= $(DEFAULT_CHECKPOINT)
TEXT_ENCODER ?= $(CHECKPOINT)/text_encoder
BUNDLE ?= out/$(notdir $(patsubst %/,%,$(CHECKPOINT)))-executorch-$(RECIPE)
WAV ?= $(BUNDLE).wav

PACKAGES := bench cli export posttrain quality quant runtime
BIN := $(VENV)/bin
ARCMOBILE := $(BIN)/arcmobile
INSTALLED_EXPORT := $(VENV)/.installed-export
INSTALLED_DEV := $(VENV)/.installed-dev
# Older releases of ExecuTorch, which bundles are compared on; make test uses the newer one.
OLDER_RUNTIMES := build/older-runtimes
OLDER_RUNTIME := $(OLDER_RUNTIMES)/1.4.1/.installed
RANDOM_CHECKPOINT := out/checkpoints/sao-small

##@ Start here

export-android: $(INSTALLED_EXPORT) ## Checkpoint to phone bundle, and a first sound from it
	@$(ARCMOBILE) export "$(CHECKPOINT)" --text-encoder "$(TEXT_ENCODER)" \
	    --backend executorch --recipe "$(RECIPE)" --out "$(BUNDLE)" --overwrite
	@$(ARCMOBILE) generate "$(PROMPT)" --seed 1 --bundle "$(BUNDLE)" \
	    --out "$(WAV)" --overwrite
	@$(call next_steps)

doctor: $(INSTALLED_EXPORT) ## What this machine can do, and how to get the rest
	@$(ARCMOBILE) doctor

include runtime/native/native.mk
include android_demo/android.mk

##@ Work on it

test: apt-packages $(INSTALLED_DEV) native native-arm64 $(OLDER_RUNTIME) ## Run the tests; installs what they need
	@$(BIN)/pytest -n auto --dist loadfile

faults: $(INSTALLED_DEV) native ## Broken inputs for every reader, COUNT of each (READERS="manifest ...")
	@cd tests && $(abspath $(BIN))/python -m faults.long_run --count $(COUNT) $(READERS)

lint: $(INSTALLED_DEV) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(call stage_packages)
	@$(mypy) $(PACKAGES:%=-p arcmobile.%)
	@$(mypy) $(CURDIR)/android_demo/check/*.py

format: $(INSTALLED_DEV) ## Put the code into the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

contract: $(INSTALLED_DEV) ## Write the manifest's schema and the test vectors again from the runtime
	@$(BIN)/python tests/contract.py

bench-full: $(INSTALLED_DEV) ## Full-size figures: export every backend, generate (about 20 minutes)
	@$(ARCMOBILE) bench fullsize --out out/full-size --overwrite

older-runtimes: $(INSTALLED_DEV) $(OLDER_RUNTIME) $(OLDER_RUNTIMES)/1.3.1/.installed ## Sounds of every recipe on older ExecuTorchs (FULL=1: full size, hours)
	@$(if $(FULL),[ -d $(RANDOM_CHECKPOINT) ] || \
	    $(ARCMOBILE) checkpoint init --preset sao-small --out $(RANDOM_CHECKPOINT))
	@cd tests && $(abspath $(BIN))/python -m older_runtimes --scratch ../out/older-runtimes \
	    $(if $(RECIPES),--recipes $(RECIPES)) -- ../$(DEFAULT_CHECKPOINT) $(if $(FULL),../$(RANDOM_CHECKPOINT))

platforms: $(BIN)/python ## Resolve every extra for every platform and Python (uv; no such machines)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/python release/platforms.py $(BIN)/uv

dist: $(INSTALLED_DEV) native-arm64 ## Packages, the Arm runner and bundles for a release, with digests, in dist/
	@$(BIN)/python release/dist.py dist

dist-check: dist ## Install its wheel into empty environments, one per engine, and make a sound in each
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/python release/check_wheel.py dist --uv $(abspath $(BIN))/uv

long-use: $(INSTALLED_EXPORT) ## 200 sounds of BUNDLE: what grows of memory, open files and threads
	@$(BIN)/python tests/long_use.py "$(BUNDLE)"

counts: $(INSTALLED_DEV) ## Count the full-size model again, after a change of networks or recipes
	@$(BIN)/python -m arcmobile.export.model.counts bench/models/sao-small.toml

gpu-wheels: $(INSTALLED_DEV) ## Wheels that a lent GPU machine lacks (posttrain/gpu_run)
	@bash posttrain/gpu_run/wheels.sh $(BIN)/python

gpu-rehearsal: $(INSTALLED_DEV) ## The GPU command on this CPU, as the machine would run it (TINY=1: quick)
	@VENV=$(abspath $(VENV)) bash posttrain/gpu_run/rehearsal.sh $(if $(TINY),--tiny)

##@ Set up and tear down

install: $(INSTALLED_EXPORT) ## Only make the environment
	@echo "ready: $(ARCMOBILE) --help"

# Exporting needs none of them; the native runner, the emulator and the tests of both do.
# The soundfile wheels of these two machines bring libsndfile along.
apt-packages: ## Install the Debian packages that are missing (compilers, emulator, ssh)
	@$(need_packages); \
	need g++ g++; need gcc gcc; need clang++ clang libclang-rt-14-dev; \
	need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu; need qemu-aarch64 qemu-user; \
	need ssh openssh-client; [ -x /usr/sbin/sshd ] || missing+=(openssh-server); \
	[ -e /usr/include/nlohmann/json.hpp ] || missing+=(nlohmann-json3-dev); \
	[ -e /usr/include/CLI/CLI.hpp ] || missing+=(libcli11-dev); \
	need_venv; \
	case "$$(uname -m)" in \
	    x86_64|aarch64) ;; \
	    *) ldconfig -p | grep -q libsndfile.so || missing+=(libsndfile1) ;; \
	esac; \
	install_packages

clean: ## Remove build products; keeps $(VENV) and out/
	@rm -rf build android_demo/build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

help: ## This overview
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
	    /^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST) \
	    | sed 's|$$(VENV)|$(VENV)|' | $(no_colour)
	@printf '%s\n' '' 'Your own weights:' \
	    '  make export-android CHECKPOINT=dir [TEXT_ENCODER=dir] [RECIPE=mobile] [BUNDLE=out/name]' \
	    '' 'All of it: $(ARCMOBILE) --help'

.PHONY: export-android doctor test faults lint format contract bench-full platforms dist dist-check older-runtimes \
    long-use counts gpu-wheels gpu-rehearsal install apt-packages clean help

# --- the environment ----------------------------------------------------------------------------

$(INSTALLED_EXPORT): pyproject.toml constraints.txt | $(BIN)/python
	@$(call install,export$(comma)bench)
	@touch $@

$(INSTALLED_DEV): pyproject.toml constraints.txt | $(BIN)/python
	@$(call install,dev)
	@touch $(INSTALLED_EXPORT) $@

$(OLDER_RUNTIMES)/%/.installed: tests/older_runtimes/%.txt | $(INSTALLED_DEV)
	@echo "fetching ExecuTorch $* to compare with"
	@rm -rf $(@D)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
	    --only-binary :all: -r $< --target $(@D)
	@touch $@

# The pins fit Python 3.11 to 3.14. Where uv is at hand, it brings one of them.
$(BIN)/python:
	@fits() { "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; }; \
	if ! fits && command -v uv >/dev/null; then \
	    echo "making $(VENV) with a Python that uv finds or fetches"; \
	    exec uv venv -q --seed --python ">=3.11,<3.15" "$(VENV)"; \
	fi; \
	command -v "$(PYTHON)" >/dev/null || \
	    { echo "error: no $(PYTHON) here; install Python 3.11 to 3.14, or give PYTHON=path"; exit 2; }; \
	fits || \
	    { echo "error: $$("$(PYTHON)" -V 2>&1) does not fit the pins; give PYTHON=path of 3.11 to 3.14"; exit 2; }; \
	$(need_packages); need_venv; install_packages; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "error: $(PYTHON) cannot make environments; give PYTHON=path of one that can"; exit 2; }; \
	echo "making $(VENV) with $$("$(PYTHON)" -V)"; \
	"$(PYTHON)" -m venv "$(VENV)"

comma := ,

# uv does in half a minute what takes pip three, but it does not read pip's settings: whoever told
# pip about an index gets pip, and so does everyone for whom uv fails. Of both we show what takes
# long, not the list of 140 packages.
define install
echo "installing the pinned packages into $(VENV) (first time: some minutes; 6 GB with PyTorch's CUDA libraries)"; \
pip="$(BIN)/python -m pip --disable-pip-version-check"; \
with_uv() { \
    ! $$pip config list | grep -q index-url && $$pip install -q -c constraints.txt uv && \
    $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[$(1)]' 2>&1 \
        | sed -uE '/^ ([-+~]|Downloaded|  *Buil[dt]) */d'; \
}; \
with_pip() { \
    $$pip install -c constraints.txt -e '.[$(1)]' \
        | sed -uE '/^ *Downloading .* [kMG]B/!{/^(Building|Installing|Successfully)/!d;}; s/ collected packages.*/ packages/'; \
}; \
with_uv || with_pip
endef

# --- pieces -------------------------------------------------------------------------------------

# need COMMAND PACKAGE...: the packages are missing if the command is; install_packages gets them.
define need_packages
missing=(); \
need() { command -v "$$1" >/dev/null || missing+=("$${@:2}"); }; \
need_venv() { "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv); }; \
install_packages() { \
    [ "$${#missing[@]}" -gt 0 ] || return 0; \
    if ! command -v apt-get >/dev/null; then \
        echo "error: missing here, by their Debian names: $${missing[*]}"; \
        ! command -v brew >/dev/null || echo "with Homebrew: brew install nlohmann-json cli11 llvm" \
            "(the emulator and the compiler for Arm boards exist on Linux alone)"; \
        exit 2; \
    fi; \
    local sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
    $$sudo apt-get update -qq; \
    $$sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$${missing[@]}"; \
}
endef

mypy = cd build/typecheck && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml \
    --python-executable $(abspath $(BIN))/python --cache-dir ../mypy_cache

# mypy cannot follow the mapping of top-level folders to arcmobile.*; links show it the packages.
define stage_packages
mkdir -p build/typecheck/arcmobile; \
for package in $(PACKAGES); do ln -sfn ../../../$$package build/typecheck/arcmobile/$$package; done
endef

define next_steps
printf '%s\n' '' \
    'bundle   $(BUNDLE)' \
    'sound    $(WAV)' \
    '' \
    'next' \
    '  look inside      $(ARCMOBILE) inspect $(BUNDLE)' \
    '  another sound    $(ARCMOBILE) generate "fast footsteps, on the left" --bundle $(BUNDLE) --out steps.wav' \
    '  onto a phone     adb push $(BUNDLE) /data/local/tmp/$(notdir $(BUNDLE))' \
    '  in an app        make android-apk, or android_demo/README.md' \
    '  other engines    $(ARCMOBILE) export $(CHECKPOINT) --backend onnx|litert' \
    '  full size        $(ARCMOBILE) fetch, then make export-android CHECKPOINT=its-folder'
endef

# Colours are for people: none in a pipe or a log.
no_colour = if [ -t 1 ]; then cat; else sed $$'s/\033\\[[0-9]*m//g'; fi
