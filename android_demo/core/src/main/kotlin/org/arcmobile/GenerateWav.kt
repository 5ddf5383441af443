package org.arcmobile

import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn

/**
 * Makes a sound and writes it to the WAV [file], which appears under its name when it is complete
 * and not before: a failure or a cancellation leaves what was there. Safe to call from the main
 * thread, as nothing is computed or written on it.
 *
 * @param overwrite replaces a file that is there; else it is refused before anything is computed.
 * @param onProgress called from the caller's coroutine, in order.
 * @return the report, with the seed that was used and the warnings.
 * @throws ArcMobileException as [AudioGenerator.generate], and of kind OUTPUT.
 */
public suspend fun AudioGenerator.generateWav(
    file: File,
    prompt: String,
    seconds: Double? = null,
    steps: Int? = null,
    seed: ULong? = null,
    format: SampleFormat = SampleFormat.PCM16,
    overwrite: Boolean = false,
    onProgress: (GenerationEvent.Progress) -> Unit = {},
): GenerationReport = generateWav(
    file,
    GenerationRequest(prompt, seconds, steps, seed),
    format,
    overwrite,
    onProgress,
)

/** As above, for any [request]. */
public suspend fun AudioGenerator.generateWav(
    file: File,
    request: GenerationRequest,
    format: SampleFormat = SampleFormat.PCM16,
    overwrite: Boolean = false,
    onProgress: (GenerationEvent.Progress) -> Unit = {},
): GenerationReport {
    lateinit var report: GenerationReport
    intoFile(file, request, format, overwrite).flowOn(Dispatchers.IO).collect { event ->
        if (event is GenerationEvent.Progress) onProgress(event)
        if (event is GenerationEvent.Finished) report = event.report
    }
    return report
}

/** The events of a generation but its chunks, which are written; the end when the file is there. */
private fun AudioGenerator.intoFile(
    file: File,
    request: GenerationRequest,
    format: SampleFormat,
    overwrite: Boolean,
): Flow<GenerationEvent> = flow {
    val audio = bundle.manifest.audio
    val samples = planGeneration(request, bundle.manifest).samples.toLong()
    WavWriter.create(
        file, audio.sampleRate, audio.channels, format, overwrite, samples,
    ).use { writer ->
        generate(request).collect { event ->
            when (event) {
                is GenerationEvent.Chunk -> writer.write(event.audio)
                is GenerationEvent.Finished -> {
                    writer.finish()
                    emit(GenerationEvent.Finished(event.report.withClipping(writer.clipped)))
                }
                else -> emit(event)
            }
        }
    }
}

private fun GenerationReport.withClipping(clipped: Long): GenerationReport =
    if (clipped == 0L) {
        this
    } else {
        copy(
            warnings = warnings + "$clipped samples were beyond full scale and clipped; " +
                "SampleFormat.FLOAT32 keeps them",
        )
    }
