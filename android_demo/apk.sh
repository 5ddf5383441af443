#!/usr/bin/env bash
# Packs what Maven has compiled into an installable, signed debug APK: apk.sh BUILD APK
#
# Needs in BUILD: aars/ (fetch_aars.sh), assets/bundles/, the modules' jars, and what android.mk lets
# Maven fetch: apk/libs, apk/tools. The key is Android Studio's debug key, or one like it.
set -euo pipefail

build=$(realpath "$1")
apk=$2
here=$(dirname "$(realpath "$0")")
work="$build/apk"
android="$work/tools/android-all.jar"
stage="$work/stage"
rm -rf "$stage"
mkdir -p "$stage/lib/arm64-v8a" "$(dirname "$apk")"

fail() {
    echo "error: $*" >&2
    exit 2
}

echo "translating classes for Android"
unzip -qo "$work/tools/fbjni.aar" classes.jar 'jni/arm64-v8a/*' -d "$work/fbjni"
jars=("$work"/libs/*.jar "$build"/app/app-*.jar "$build"/aars/*/classes.jar "$work/fbjni/classes.jar")
jdk=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.home = //p')
java -cp "$work/tools/r8.jar" com.android.tools.r8.D8 --map-diagnostics info none \
    --min-api 26 --lib "$android" --lib "$jdk" \
    --output "$stage" "${jars[@]}"

# ServiceLoader finds engines and the coroutines' main thread by these.
for jar in "${jars[@]}"; do
    unzip -qo "$jar" 'META-INF/services/*' -d "$stage" 2>/dev/null || [ $? -eq 11 ]
done
cp "$build"/aars/*/jni/arm64-v8a/*.so "$work"/fbjni/jni/arm64-v8a/*.so "$stage/lib/arm64-v8a/"

echo "packing"
"$here/app/resources.sh" "$android" "$work/resources" "$build/assets" --debug-mode
cp "$work/resources/resources.apk" "$work/unaligned.apk"
(cd "$stage" && zip -qr "$work/unaligned.apk" .)
zipalign -f -p 4 "$work/unaligned.apk" "$work/aligned.apk"

key="${HOME}/.android/debug.keystore"
[ -f "$key" ] || key="$work/debug.keystore"
[ -f "$key" ] || keytool -genkeypair -keystore "$key" -storepass android -alias androiddebugkey \
    -keypass android -keyalg RSA -keysize 2048 -validity 10000 \
    -dname "CN=Android Debug,O=Android,C=US" 2>/dev/null
apksigner sign --ks "$key" --ks-pass pass:android --ks-key-alias androiddebugkey \
    --min-sdk-version 26 --out "$work/signed.apk" "$work/aligned.apk"

echo "verifying"
zipalign -c -p 4 "$work/signed.apk" || fail "the APK is not aligned"
signature=$(apksigner verify --min-sdk-version 26 --verbose "$work/signed.apk") ||
    fail "the signature does not hold: $signature"
badging=$(aapt2 dump badging "$work/signed.apk")
for wanted in "package: name='org.arcmobile.demo'" "sdkVersion:'26'" "launchable-activity" \
    "native-code: 'arm64-v8a'"; do
    grep -qF "$wanted" <<<"$badging" || fail "the APK lacks $wanted; aapt2 dump badging tells all"
done
for wanted in classes.dex lib/arm64-v8a/libexecutorch.so lib/arm64-v8a/libonnxruntime4j_jni.so \
    META-INF/services/org.arcmobile.EngineProvider assets/bundles/embedded-onnx-mobile/manifest.json; do
    unzip -l "$work/signed.apk" "$wanted" >/dev/null || fail "the APK lacks $wanted"
done
mv -f "$work/signed.apk" "$apk"
grep -E "^(package|sdkVersion|targetSdkVersion|launchable|native-code)" <<<"$badging"
grep -E "^(Verifies|Verified using)" <<<"$signature"
echo "made $apk ($(du -h "$apk" | cut -f1)); install it: adb install -r $apk"
