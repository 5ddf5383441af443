# Building the native runner; included by the Makefile. Everything lands in build/native.
#
#   build/native/<preset>/dist    arcmobile-run and its libraries: the folder to copy to a device
#   build/native/plugin           the instruction counter for the emulator

NATIVE := build/native
NATIVE_SOURCES := $(NATIVE)/sources
EXECUTORCH_ARM64 := $(NATIVE_SOURCES)/.executorch-arm64
BENCH ?= out/bench
# One core, and all of them.
CORES := $(shell getconf _NPROCESSORS_ONLN)
FUZZ_SECONDS ?= 30
THREADS ?= $(if $(filter 1,$(CORES)),1,1,$(CORES))
PLUGIN := $(NATIVE)/plugin/libinstructions.so

##@ Run on Arm

native: $(INSTALLED_EXPORT) ## Build the C++ runner for this machine
	@$(call build_native,host)

native-sanitized: $(INSTALLED_EXPORT) ## Build it with address and undefined-behaviour checks
	@command -v clang++ >/dev/null || { echo "error: no clang++ here; run: make apt-packages"; exit 2; }
	@$(call build_native,host-sanitized,fuzz-manifest fuzz-tokenizer fuzz-program)

native-fuzz: native-sanitized ## Fuzz manifests, tokenizers and programs (FUZZ_SECONDS=30 each)
	@$(call fuzz,manifest tokenizer program)

native-arm64: $(INSTALLED_EXPORT) $(EXECUTORCH_ARM64) $(PLUGIN) ## Build it for Arm boards and the emulator
	@$(call build_native,linux-arm64)

native-android: $(INSTALLED_EXPORT) ## Build it for phones (ANDROID_NDK_HOME and EXECUTORCH_ANDROID set)
	@$(call build_native,android-arm64)

bench: native $(BUNDLE)/manifest.json ## Time a bundle on this machine, with a report (BUNDLE=...)
	@$(ARCMOBILE) bench run --bundle "$(BUNDLE)" --target host --threads $(THREADS) --overwrite \
	    --out $(BENCH)/host.json
	@$(ARCMOBILE) bench report $(BENCH)/host.json --overwrite --out $(BENCH)/host.html

bench-qemu: native-arm64 $(BUNDLE)/manifest.json ## Run a bundle on emulated Arm and count its instructions
	@$(ARCMOBILE) bench run --bundle "$(BUNDLE)" --target qemu --repeats 3 --overwrite \
	    --out $(BENCH)/qemu.json
	@$(ARCMOBILE) bench instructions --bundle "$(BUNDLE)" --cpu max,sme=off --cpu neoverse-n1 \
	    --cpu cortex-a53 --overwrite --out $(BENCH)/instructions.json
	@$(ARCMOBILE) bench report $(BENCH)/qemu.json $(BENCH)/instructions.json --overwrite \
	    --out $(BENCH)/qemu.html

.PHONY: native native-sanitized native-fuzz native-arm64 native-android bench bench-qemu

$(BUNDLE)/manifest.json:
	@$(MAKE) export-android

# The Python package of ExecuTorch holds the libraries and headers for this machine.
define build_native
command -v g++ >/dev/null || { echo "error: no g++ here; run: make apt-packages"; exit 2; }; \
mkdir -p $(NATIVE); log=$(NATIVE)/$(1).log; \
export PATH="$(abspath $(BIN)):$$PATH" \
    ARCMOBILE_EXECUTORCH="$$($(BIN)/python -c 'import executorch; print(list(executorch.__path__)[0])')"; \
run() { \
    (cd runtime/native && cmake "$$@") > "$$log" 2>&1 && return; \
    sed -n '/CMake Error/,/^$$/p; / error: /p; /FAILED/p' "$$log" | head -20; \
    echo "error: the native build failed; all of it is in $$log"; exit 2; \
}; \
echo "building the runner for $(1) (first time: about a minute)"; \
run --preset $(1) && run --build --preset $(1) --target arcmobile-run arcmobile-probe $(2); \
run --install ../../$(NATIVE)/$(1) --strip; \
echo "built $(NATIVE)/$(1)/dist/arcmobile-run"
endef

# All at once. New inputs that reach new code go to build/, the seeds stay as they are; an input that
# fails is kept there too.
define fuzz
for name in $(1); do \
    seeds=runtime/native/fuzz/seeds/$$name; found=$(NATIVE)/fuzz/$$name; mkdir -p "$$found/corpus"; \
    $(NATIVE)/host-sanitized/fuzz-$$name -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
        -rss_limit_mb=1024 -max_len=65536 -artifact_prefix="$$found/" -verbosity=0 -print_final_stats=1 \
        "$$found/corpus" "$$seeds" > "$$found/log" 2>&1 & \
    jobs+=($$!); \
done; \
failed=; index=0; \
for name in $(1); do \
    log=$(NATIVE)/fuzz/$$name/log; \
    if wait "$${jobs[index++]}"; then \
        echo "fuzzed $$name: $$(sed -n 's/.*number_of_executed_units: *//p' "$$log") inputs"; continue; \
    fi; \
    grep -E 'ERROR|SUMMARY|runtime error|Test unit' "$$log"; \
    failed=1; echo "error: fuzzing $$name failed; all of it is in $$log"; \
done; \
[ -z "$$failed" ] || exit 2
endef

# Hashes are checked: these are compiled or run as they come.
define fetch_source
mkdir -p $(NATIVE_SOURCES); \
$(BIN)/python -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
    -r $(1) -d $(NATIVE_SOURCES) $(2)
endef

$(EXECUTORCH_ARM64): runtime/native/sources-arm64.txt | $(INSTALLED_EXPORT)
	@echo "fetching the ExecuTorch libraries for Arm"
	@$(call fetch_source,$<,--only-binary :all: --platform manylinux_2_28_aarch64 --python-version 3.11)
	@rm -rf $(NATIVE_SOURCES)/executorch-arm64
	@$(BIN)/python -m zipfile -e $(NATIVE_SOURCES)/executorch-*aarch64.whl $(NATIVE_SOURCES)/executorch-arm64
	@touch $@

$(PLUGIN): $(wildcard bench/tcg_plugin/*)
	@mkdir -p $(@D)
	@gcc -shared -fPIC -O2 -std=c11 -Wall -Wextra -Werror -o $@ bench/tcg_plugin/instructions.c
