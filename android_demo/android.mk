# The Android part without an Android SDK: Maven compiles and tests it, Debian's tools and R8 make
# the APK. With an SDK, open $(ANDROID) in Android Studio.

ANDROID := android_demo
ANDROID_BUILD := $(ANDROID)/build
AARS := $(ANDROID_BUILD)/aars
GATE := $(ANDROID_BUILD)/gate
# In the APK: a bundle of the embedded checkpoint for each of its engines.
ANDROID_BUNDLES := $(ANDROID_BUILD)/assets/bundles
ONNX_BUNDLE := $(ANDROID_BUNDLES)/embedded-onnx-mobile
EXECUTORCH_BUNDLE := $(ANDROID_BUNDLES)/embedded-executorch-mobile
# For its tests: random weights, small and the same on every machine.
TINY_CHECKPOINT := out/checkpoints/tiny
TINY_BUNDLE := $(ANDROID_BUILD)/bundles/tiny-onnx-mobile
ANDROID_REFERENCE := $(ANDROID_BUILD)/reference
APK := out/arcmobile-demo.apk
MAVEN := mvn --batch-mode --no-transfer-progress -Dstyle.color=never -f $(ANDROID)/pom.xml

MAVEN_DEPENDENCY := org.apache.maven.plugins:maven-dependency-plugin:3.8.1
R8 := 9.5.28
FBJNI := 0.7.0
pom_version = $(shell sed -n 's|.*<$(1).version>\(.*\)</.*|\1|p' $(ANDROID)/pom.xml)
ANDROID_ALL = $(call pom_version,android-all)
ONNXRUNTIME = $(call pom_version,onnxruntime)

CHECK_TOOLS := java mvn npm unzip aapt2
APK_TOOLS := $(CHECK_TOOLS) zip zipalign apksigner keytool

##@ Put it into an app

android-check: $(AARS)/.complete $(TINY_CHECKPOINT)/model_config.json ## Build and test core, engines and app; no SDK needed
	@$(call require,$(CHECK_TOOLS))
	@$(call export_bundle,$(TINY_CHECKPOINT),onnx,$(TINY_BUNDLE))
	@$(reference_sounds)
	@echo "compiling and testing core, engines and app (first time: some minutes of downloads)"
	@$(MAVEN) $(executorch_release) verify | $(what_was_tested)

# Runs the x86-64 build of the library in the APK, on the bundle in the APK.
android-gate: $(AARS)/.complete $(EXECUTORCH_BUNDLE)/manifest.json ## ExecuTorch for Android against Python: same sound?
	@$(call fetch_tool,com.facebook.fbjni:fbjni:$(FBJNI):aar,fbjni.aar)
	@mkdir -p $(GATE)
	@unzip -qo $(ANDROID_BUILD)/apk/tools/fbjni.aar classes.jar 'jni/x86_64/*' -d $(GATE)/fbjni
	@$(BIN)/python $(ANDROID)/check/android_on_glibc.py $(GATE)/libraries \
	    $(AARS)/executorch/jni/x86_64/*.so $(GATE)/fbjni/jni/x86_64/*.so
	@$(MAVEN) $(executorch_release) --quiet -pl core,executorch test-compile \
	    $(MAVEN_DEPENDENCY):build-classpath -Dmdep.outputFile=$(abspath $(GATE))/class-path
	@$(BIN)/python $(ANDROID)/check/gate.py $(EXECUTORCH_BUNDLE) $(GATE)/libraries \
	    "$$(cat $(GATE)/class-path):$(GATE)/fbjni/classes.jar:$(ANDROID_BUILD)/executorch/classes:$(ANDROID_BUILD)/executorch/test-classes"

# Far more corrupted inputs for each reader than android-check.
MUTATIONS := 20000

android-mutations: $(AARS)/.complete ## 20 000 corrupted inputs for each reader of the Kotlin part
	@$(MAVEN) $(executorch_release) -Darcmobile.mutations=$(MUTATIONS) \
	    -Dtest='MutationTest,BundleZipTest,SoundStoreTest' -Dsurefire.failIfNoSpecifiedTests=false \
	    test | $(what_was_tested)

android-apk: ## Signed debug APK with the embedded model, out/arcmobile-demo.apk; no SDK needed
	@if [ -z "$$($(call missing,$(APK_TOOLS)))" ]; then \
	    $(MAKE) apk-from-packages; \
	elif [ -n "$${ANDROID_HOME:-}" ] && command -v gradle >/dev/null; then \
	    $(MAKE) apk-from-gradle; \
	else \
	    echo "error: no$$($(call missing,$(APK_TOOLS))) here; run: make android-packages" \
	        "(Debian), or set ANDROID_HOME to an SDK and install Gradle"; exit 2; \
	fi

android-packages: ## Install the Debian packages that both need
	@$(need_packages); \
	need java default-jdk-headless; need keytool default-jdk-headless; need mvn maven; need npm npm; \
	need unzip unzip; need zip zip; need aapt2 aapt; need zipalign zipalign; need apksigner apksigner; \
	install_packages

.PHONY: android-check android-gate android-mutations android-apk android-packages apk-from-packages apk-from-gradle

apk-from-packages: $(AARS)/.complete $(ONNX_BUNDLE)/manifest.json $(EXECUTORCH_BUNDLE)/manifest.json
	@echo "compiling core, engines and app (first time: some minutes of downloads)"
	@rm -rf $(ANDROID_BUILD)/apk/libs
	@$(MAVEN) $(executorch_release) --quiet package -DskipTests $(MAVEN_DEPENDENCY):copy-dependencies \
	    -DincludeScope=runtime \
	    -DoutputDirectory=$(abspath $(ANDROID_BUILD))/apk/libs
	@$(call fetch_tool,com.android.tools:r8:$(R8):jar,r8.jar)
	@$(call fetch_tool,com.facebook.fbjni:fbjni:$(FBJNI):aar,fbjni.aar)
	@$(call fetch_tool,org.robolectric:android-all:$(ANDROID_ALL):jar,android-all.jar)
	@$(ANDROID)/apk.sh $(ANDROID_BUILD) $(APK)

apk-from-gradle: $(ONNX_BUNDLE)/manifest.json $(EXECUTORCH_BUNDLE)/manifest.json
	@cd $(ANDROID) && gradle --quiet :app:assembleDebug
	@mkdir -p $(dir $(APK)) && cp $(ANDROID)/app/build/outputs/apk/debug/app-debug.apk $(APK)
	@echo "made $(APK)"

$(AARS)/.complete: $(ANDROID)/fetch_aars.sh
	@$(call require,npm unzip)
	@$(ANDROID)/fetch_aars.sh $(AARS)
	@touch $@

$(ONNX_BUNDLE)/manifest.json: $(INSTALLED_EXPORT)
	@$(call export_bundle,$(DEFAULT_CHECKPOINT),onnx,$(ONNX_BUNDLE))

$(EXECUTORCH_BUNDLE)/manifest.json: $(INSTALLED_EXPORT)
	@$(call export_bundle,$(DEFAULT_CHECKPOINT),executorch,$(EXECUTORCH_BUNDLE))

$(TINY_CHECKPOINT)/model_config.json: export/checkpoint/presets.py export/checkpoint/random_weights.py export/checkpoint/preset_corpus.txt | $(INSTALLED_EXPORT)
	@$(ARCMOBILE) checkpoint init --preset tiny --seed 0 --out $(TINY_CHECKPOINT) --overwrite

# The release of the AAR that is there, fetched or given.
executorch_release = -Dexecutorch.version=$$(cat $(AARS)/executorch/release)

export_bundle = $(ARCMOBILE) export $(1) --backend $(2) --recipe mobile --out $(3) --overwrite

# What Python generates from the bundle, on the release of ONNX Runtime that Maven has for the JVM: with
# int8 the last bits of one release are not those of another.
define reference_sounds
packages=$(ANDROID_BUILD)/python-onnxruntime-$(ONNXRUNTIME); \
[ -d "$$packages" ] || { \
    $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps \
        --target "$$packages.partial" onnxruntime==$(ONNXRUNTIME) && \
    mv "$$packages.partial" "$$packages"; }; \
PYTHONPATH="$$packages" $(BIN)/python $(ANDROID)/check/reference.py $(TINY_BUNDLE) $(ANDROID_REFERENCE)
endef

# fetch_tool(artifact, name): from Maven to apk/tools, under a name without its version.
define fetch_tool
tools=$(ANDROID_BUILD)/apk/tools; [ -f "$$tools/$(2)" ] || { \
    mkdir -p "$$tools"; scratch=$$(mktemp -d "$$tools/fetch.XXXXXX"); \
    mvn -q -B $(MAVEN_DEPENDENCY):copy -Dartifact=$(1) -DoutputDirectory="$$scratch" || { \
        rm -rf "$$scratch"; \
        echo "error: Maven does not find $(1); R8 is in Google's repository: name that in your" \
            "Maven settings, or use an SDK"; exit 2; }; \
    mv "$$scratch"/* "$$tools/$(2)"; rmdir "$$scratch"; \
}
endef

# missing(tools): those that are not on this machine.
missing = for tool in $(1); do command -v "$$tool" >/dev/null || printf ' %s' "$$tool"; done

define require
missing="$$($(call missing,$(1)))"; \
[ -z "$$missing" ] || { echo "error: no$$missing here; run: make android-packages"; exit 2; }
endef

# Of Maven's output: what failed, and how many tests ran.
define what_was_tested
sed -uE '/^\[INFO\]/{/Building .*\[[0-9]|Tests run:.* in |BUILD/!d;}; s/^\[INFO\] //'
endef
