#!/usr/bin/env bash
# Unpacks the Android builds of ExecuTorch and ONNX Runtime: fetch_aars.sh FOLDER
#
# Gradle takes both AARs from Maven Central. Maven cannot put an AAR on a class path, and not every
# mirror of Central carries these two, so this takes the same builds out of npm packages that carry
# them, pinned by digest. Your own AARs: EXECUTORCH_AAR=file ONNXRUNTIME_AAR=file.
#
# Leaves FOLDER/{executorch,onnxruntime}/classes.jar and .../jni/arm64-v8a/*.so.
set -euo pipefail

folder=$1
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "error: $*" >&2
    exit 2
}

# npm_package NAME VERSION SHA256: downloads and unpacks it to $scratch/NAME.
npm_package() {
    local name=$1 version=$2 digest=$3 file="$scratch/$1-$2.tgz"
    command -v npm >/dev/null || fail "no npm here; run: make android-packages"
    echo "fetching $name $version"
    (cd "$scratch" && npm pack --silent "$name@$version" >/dev/null) ||
        fail "npm has no $name@$version; give EXECUTORCH_AAR and ONNXRUNTIME_AAR instead"
    echo "$digest  $file" | sha256sum --check --quiet ||
        fail "$name $version is not what it was; give EXECUTORCH_AAR and ONNXRUNTIME_AAR instead"
    mkdir "$scratch/$name"
    tar -xzf "$file" -C "$scratch/$name" --strip-components 1
    rm "$file"
}

# take_aar FILE NAME: its classes and arm64 libraries.
take_aar() {
    [ -f "$1" ] || fail "$1: no such AAR"
    mkdir -p "$scratch/$2"
    unzip -qo "$1" classes.jar 'jni/arm64-v8a/*' -d "$scratch/$2" || fail "$1: not an AAR"
}

# keep NAME: complete, so it takes its place.
keep() {
    rm -rf "${folder:?}/$1"
    mv "$scratch/$1" "$folder/$1"
}

if [ -n "${EXECUTORCH_AAR:-}" ]; then
    take_aar "$EXECUTORCH_AAR" executorch
else
    npm_package react-native-executorch 0.9.3 \
        70a20a865b82f47ac46c82711d93c2038cf99eccbb9b287494219063f2217622
    carrier="$scratch/react-native-executorch"
    mkdir -p "$scratch/executorch/jni/arm64-v8a"
    mv "$carrier/android/libs/classes.jar" "$scratch/executorch/"
    mv "$carrier/third-party/android/libs/executorch/arm64-v8a/libexecutorch.so" \
        "$scratch/executorch/jni/arm64-v8a/"
fi
keep executorch

if [ -n "${ONNXRUNTIME_AAR:-}" ]; then
    take_aar "$ONNXRUNTIME_AAR" onnxruntime
else
    npm_package com.github.asus4.onnxruntime 0.4.9 \
        e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d
    take_aar "$scratch/com.github.asus4.onnxruntime/Plugins/Android/onnxruntime.aar" onnxruntime
fi
keep onnxruntime
