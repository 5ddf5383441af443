package org.arcmobile.demo

import java.util.TreeMap
import javax.annotation.Priority
import javax.inject.Inject
import org.robolectric.internal.dependency.DependencyResolver
import org.robolectric.pluginapi.Sdk
import org.robolectric.plugins.DefaultSdkProvider

/** Oldest Android that the app runs on. */
internal const val OLDEST: Int = 26

/** Android that the app is made for. */
internal const val NEWEST: Int = 34

/** Robolectric with no more than the two Androids whose files the build has. */
@Priority(1)
internal class AndroidVersions @Inject constructor(resolver: DependencyResolver) :
    DefaultSdkProvider(resolver) {
    override fun populateSdks(knownSdks: TreeMap<Int, Sdk>) {
        super.populateSdks(knownSdks)
        knownSdks.keys.retainAll(setOf(OLDEST, NEWEST))
    }
}
