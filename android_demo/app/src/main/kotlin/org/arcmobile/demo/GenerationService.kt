package org.arcmobile.demo

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.app.Service
import android.content.Context
import android.content.Intent
import android.content.pm.ServiceInfo
import android.os.Build
import android.os.IBinder
import android.util.Log
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.launch

/**
 * Keeps the process awake while a sound is made and another app is in front: without it Android
 * freezes the process soon. It does no work of its own, and ends with the generation.
 */
internal class GenerationService : Service() {
    private var following: Job? = null

    override fun onBind(intent: Intent): IBinder? = null

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        getSystemService(NotificationManager::class.java).createNotificationChannel(
            NotificationChannel(
                CHANNEL,
                getString(R.string.channel_generation),
                NotificationManager.IMPORTANCE_LOW,
            ),
        )
        comeForward(notification(demo.session.state.value))
        following?.cancel()
        following = demo.scope.launch { follow() }
        return START_NOT_STICKY
    }

    /** Since Android 14: a short service's time is over. The generation goes on unguarded. */
    override fun onTimeout(startId: Int): Unit = stopSelf()

    override fun onDestroy() {
        following?.cancel()
        super.onDestroy()
    }

    private suspend fun follow() {
        val notifications = getSystemService(NotificationManager::class.java)
        demo.session.state
            .takeWhile { it.busy }
            .map { it.phase }
            .distinctUntilChanged()
            .onEach { notifications.notify(ID, notification(demo.session.state.value)) }
            .collect()
        stopForeground(STOP_FOREGROUND_REMOVE)
        stopSelf()
    }

    private fun comeForward(notification: Notification) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.UPSIDE_DOWN_CAKE) {
            startForeground(ID, notification, ServiceInfo.FOREGROUND_SERVICE_TYPE_SHORT_SERVICE)
        } else {
            startForeground(ID, notification)
        }
    }

    private fun notification(state: SessionState): Notification {
        val open = Intent(this, MainActivity::class.java)
            .addFlags(Intent.FLAG_ACTIVITY_SINGLE_TOP or Intent.FLAG_ACTIVITY_NEW_TASK)
        val progress = (state.phase as? SessionState.Phase.Running)?.progress
        return Notification.Builder(this, CHANNEL)
            .setSmallIcon(R.drawable.ic_notification)
            .setColor(getColor(R.color.accent))
            .setContentTitle(getString(R.string.channel_generation))
            .setContentText(stageText(this, state.phase))
            .setProgress(progress?.total ?: 0, progress?.done ?: 0, progress == null)
            .setContentIntent(
                PendingIntent.getActivity(this, 0, open, PendingIntent.FLAG_IMMUTABLE),
            )
            .setOngoing(true)
            .setOnlyAlertOnce(true)
            .build()
    }

    companion object {
        private const val CHANNEL = "generation"
        private const val ID = 1

        /** Comes forward until the generation in progress is over. */
        fun start(context: Context) {
            try {
                context.startForegroundService(Intent(context, GenerationService::class.java))
            } catch (error: IllegalStateException) {
                // The app is not in front any more: the generation runs while Android lets it.
                Log.w(TAG, "not brought forward", error)
            }
        }
    }
}
