#!/bin/sh
# Compiles and links the app's resources with aapt2: resources.sh ANDROID_JAR OUT [ASSETS [OPTION...]]
#
# OUT/resources.apk  manifest, resources and what is in ASSETS; lacks only classes and libraries
# OUT/java           R.java
# OUT/keep.pro       what a shrinker must keep because XML names it
# OUT/robolectric    tells Robolectric where all that is; goes on the class path of tests
# Options go to aapt2 link, e.g. --debug-mode.
set -eu

package=org.arcmobile.demo
min_sdk=26
target_sdk=34

android_jar=$1
out=$2
assets=${3:-}
[ $# -lt 3 ] && shift 2 || shift 3
app=$(cd "$(dirname "$0")" && pwd)

command -v aapt2 >/dev/null || {
    echo "error: no aapt2 here; run: make android-packages" >&2
    exit 2
}

rm -rf "$out"
mkdir -p "$out/java" "$out/assets" "$out/robolectric/com/android/tools"
[ -z "$assets" ] || cp -R "$assets/." "$out/assets/"

# Gradle takes package and versions from its build file, aapt2 and Robolectric from the manifest.
sed "s|<manifest |<manifest package=\"$package\" android:versionCode=\"1\" \
android:versionName=\"0.1.0\" |
s|<application|<uses-sdk android:minSdkVersion=\"$min_sdk\" \
android:targetSdkVersion=\"$target_sdk\" />\n&|" \
    "$app/src/main/AndroidManifest.xml" >"$out/AndroidManifest.xml"

# Frameworks of today hold a chunk that aapt2 of Debian warns about and skips without harm.
quietly() {
    "$@" >"$out/aapt2.log" 2>&1 || {
        cat "$out/aapt2.log" >&2
        exit 1
    }
    grep -v 'Unknown chunk type' "$out/aapt2.log" >&2 || true
}

quietly aapt2 compile --dir "$app/src/main/res" -o "$out/compiled.zip"
quietly aapt2 link -I "$android_jar" --manifest "$out/AndroidManifest.xml" -A "$out/assets" \
    --java "$out/java" --proguard "$out/keep.pro" -o "$out/resources.apk" "$@" "$out/compiled.zip"

cat >"$out/robolectric/com/android/tools/test_config.properties" <<EOF
android_merged_manifest=$out/AndroidManifest.xml
android_merged_resources=$app/src/main/res
android_merged_assets=$out/assets
android_resource_apk=$out/resources.apk
android_custom_package=$package
EOF
