package org.arcmobile.demo

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.media.AudioFocusRequest
import android.media.AudioManager

/**
 * The right to be heard: asks other apps to be quiet, and says when they ask it of us or when
 * headphones are pulled out. Used on the main thread.
 */
internal class AudioFocus(private val context: Context) {
    private val audio = context.getSystemService(AudioManager::class.java)
    private var request: AudioFocusRequest? = null
    private var unplugged: BroadcastReceiver? = null

    /** Asks for the focus; false if another app must not be interrupted now, e.g. a call. */
    fun take(onLost: () -> Unit): Boolean {
        giveBack()
        val asked = AudioFocusRequest.Builder(AudioManager.AUDIOFOCUS_GAIN)
            .setAudioAttributes(MEDIA)
            .setOnAudioFocusChangeListener { change ->
                // For a short "ducking" sound the system lowers our volume by itself.
                val short = change == AudioManager.AUDIOFOCUS_LOSS_TRANSIENT_CAN_DUCK
                if (change < 0 && !short) onLost()
            }
            .build()
        if (audio.requestAudioFocus(asked) != AudioManager.AUDIOFOCUS_REQUEST_GRANTED) return false
        request = asked
        unplugged = object : BroadcastReceiver() {
            override fun onReceive(context: Context, intent: Intent) = onLost()
        }.also {
            context.registerReceiver(it, IntentFilter(AudioManager.ACTION_AUDIO_BECOMING_NOISY))
        }
        return true
    }

    /** Lets others be heard again; nothing to do if the focus is not held. */
    fun giveBack() {
        request?.let(audio::abandonAudioFocusRequest)
        unplugged?.let(context::unregisterReceiver)
        request = null
        unplugged = null
    }
}
