// Open this folder in Android Studio. Without an SDK: `make android-check` at the project's top.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "arcmobile-android"
include(":core", ":onnxruntime", ":executorch", ":app")
