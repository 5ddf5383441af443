#!/usr/bin/env bash
# Unpacks the Android builds of ExecuTorch and ONNX Runtime: fetch_aars.sh FOLDER
#
# Gradle takes both AARs from Maven Central. Maven cannot put an AAR on a class path, and not every
# mirror of Central carries these two, so this takes the same builds out of npm packages that carry
# them, pinned by digest. Your own AARs: EXECUTORCH_AAR=file EXECUTORCH_RELEASE=1.5.1
# ONNXRUNTIME_AAR=file.
#
# Leaves FOLDER/{executorch,onnxruntime}/classes.jar and .../jni/arm64-v8a/*.so, and of ExecuTorch
# its release in FOLDER/executorch/release and jni/x86_64/*.so, for make android-gate.
set -euo pipefail

# The library does not tell its release, and the npm package builds a fork of it. Its messages do:
# they hold 1,279 of those of the wheel of 1.3.1, two of them gone in 1.4.1, and none that came with
# 1.4.1. So it is of the 1.3 series; which patch is unknown, and the oldest is the safe answer.
NPM_EXECUTORCH_RELEASE=1.3.0

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

# take_aar FILE NAME: its classes and libraries; not every AAR has those for x86_64.
take_aar() {
    [ -f "$1" ] || fail "$1: no such AAR"
    mkdir -p "$scratch/$2"
    unzip -qo "$1" classes.jar 'jni/arm64-v8a/*' -d "$scratch/$2" || fail "$1: not an AAR"
    unzip -qo "$1" 'jni/x86_64/*' -d "$scratch/$2" || [ $? -eq 11 ]
}

# keep NAME: complete, so it takes its place.
keep() {
    rm -rf "${folder:?}/$1"
    mv "$scratch/$1" "$folder/$1"
}

if [ -n "${EXECUTORCH_AAR:-}" ]; then
    [[ "${EXECUTORCH_RELEASE:-}" =~ ^[0-9]+\.[0-9]+(\.[0-9]+)?$ ]] ||
        fail "EXECUTORCH_AAR does not tell its release; add EXECUTORCH_RELEASE=1.5.1, say"
    take_aar "$EXECUTORCH_AAR" executorch
    echo "$EXECUTORCH_RELEASE" >"$scratch/executorch/release"
else
    npm_package react-native-executorch 0.9.3 \
        70a20a865b82f47ac46c82711d93c2038cf99eccbb9b287494219063f2217622
    carrier="$scratch/react-native-executorch"
    mkdir -p "$scratch"/executorch/jni/{arm64-v8a,x86_64}
    mv "$carrier/android/libs/classes.jar" "$scratch/executorch/"
    for abi in arm64-v8a x86_64; do
        mv "$carrier/third-party/android/libs/executorch/$abi/libexecutorch.so" \
            "$scratch/executorch/jni/$abi/"
    done
    echo "$NPM_EXECUTORCH_RELEASE" >"$scratch/executorch/release"
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
