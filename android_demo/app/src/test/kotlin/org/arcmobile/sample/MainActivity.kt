package org.arcmobile.sample

import android.app.Activity
import android.media.MediaPlayer
import android.os.Bundle
import android.widget.TextView
import kotlinx.coroutines.*
import org.arcmobile.*

class MainActivity : Activity() {
    private val scope = MainScope()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val status = TextView(this).also(::setContentView)
        val bundle = getExternalFilesDir(null)!!.resolve("bundles/sao-small-executorch-mobile")
        val wav = cacheDir.resolve("sound.wav")
        scope.launch {
            try {
                withContext(Dispatchers.IO) { AudioGenerator.open(bundle) }.use { generator ->
                    generator.generateWav(wav, "church bells", seconds = 5.0, overwrite = true) {
                        status.text = "${it.stage} ${it.done} of ${it.total}"
                    }
                }
                MediaPlayer().apply { setDataSource(wav.path); prepare() }.start()
            } catch (error: ArcMobileException) {
                status.text = error.message
            }
        }
    }

    override fun onDestroy() = scope.cancel().also { super.onDestroy() }
}
