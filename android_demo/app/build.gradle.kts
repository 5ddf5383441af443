import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "org.arcmobile.demo"
    compileSdk = 34
    defaultConfig {
        applicationId = "org.arcmobile.demo"
        minSdk = 26
        targetSdk = 34
        versionCode = 1
        versionName = "0.1.0"
        ndk { abiFilters += "arm64-v8a" }
    }
    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    // Bundles that `make android-apk` exports; the app copies one out at first start.
    sourceSets["main"].assets.srcDir("../build/assets")
    testOptions { unitTests.isIncludeAndroidResources = true }
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_1_8
    }
}

dependencies {
    implementation(project(":core"))
    implementation(project(":executorch"))
    implementation(project(":onnxruntime"))
    implementation(libs.coroutines.android)
    testImplementation(libs.onnxruntime.desktop)
    testImplementation(libs.kotlin.test.junit)
    testImplementation(libs.robolectric)
}
