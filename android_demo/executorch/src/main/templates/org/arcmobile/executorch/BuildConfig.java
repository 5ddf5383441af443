package org.arcmobile.executorch;

/** What Gradle's Android plugin writes from build.gradle.kts; Maven fills this in from pom.xml. */
final class BuildConfig {
    static final String EXECUTORCH_RELEASE = "@executorch.version@";

    private BuildConfig() {}
}
