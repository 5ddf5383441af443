package org.arcmobile.demo

import android.app.Activity
import android.app.AlertDialog
import android.content.ClipboardManager
import android.content.Context
import android.content.DialogInterface
import android.content.Intent
import android.net.Uri
import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import java.io.ByteArrayInputStream
import java.io.File
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.robolectric.Robolectric
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.shadows.ShadowDialog

class BundlesScreenTest : AppTest() {
    private lateinit var controller: ActivityController<BundlesActivity>
    private val screen: Activity get() = controller.get()
    private val library get() = app.library.state.value
    private val cards
        get() = screen.view<ViewGroup>(R.id.list).let { list ->
            (0 until list.childCount).map(list::getChildAt)
        }

    private fun open() {
        controller = Robolectric.buildActivity(BundlesActivity::class.java).setup()
        awaitIdle()
    }

    private fun awaitIdle() =
        await("the library") {
            library.looked && library.work == null && cards.size == library.bundles.size
        }

    private fun card(name: String) = cards.single { name in it.contentDescription }

    private fun View.line(id: Int) = findViewById<TextView>(id).text.toString()

    private fun import(zip: ByteArray, name: String = "tiny.zip") {
        val uri = Uri.parse("content://downloads/$name")
        shadowOf(app.contentResolver).registerInputStream(uri, ByteArrayInputStream(zip))
        screen.click(R.id.import_zip)
        val asked = shadowOf(screen).nextStartedActivityForResult.intent
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, asked.action)
        shadowOf(screen).receiveResult(asked, Activity.RESULT_OK, Intent().setData(uri))
    }

    private fun imported() = app.filesDir.resolve("bundles/imported").list().orEmpty().toList()

    @Test
    fun `the packed bundle is there at the first start and in use`() {
        open()

        val card = cards.single()
        assertEquals("tiny", card.line(R.id.item_title))
        assertContains(card.line(R.id.item_facts), "mobile · ONNX Runtime")
        assertContains(card.line(R.id.item_facts), "1.5 s")
        assertContains(card.line(R.id.item_origin), "In use")
        assertFalse(card.findViewById<View>(R.id.item_delete).isShown)
        assertNull(screen.banner(R.id.error))
    }

    @Test
    fun `a bundle that adb put here can be chosen and deleted`() {
        push("from-adb")
        open()
        assertEquals(2, cards.size)

        card("Pushed by adb").performClick()
        await("the choice") { library.chosen?.folder?.name == "from-adb" }
        assertEquals("PUSHED/from-adb", app.settings.bundle)
        awaitIdle()
        await("the mark") { "In use" in card("Pushed by adb").line(R.id.item_origin) }
        card("Pushed by adb").findViewById<View>(R.id.item_delete).performClick()
        val dialog = ShadowDialog.getLatestDialog() as AlertDialog
        dialog.getButton(DialogInterface.BUTTON_POSITIVE).performClick()
        await("one bundle") { cards.size == 1 }

        assertEquals(Origin.PACKED, library.chosen?.origin)
    }

    @Test
    fun `broken bundles are listed with the reason, and cannot be chosen`() {
        push("no-file") { it.resolve("dit.onnx").delete() }
        push("no-manifest") { it.resolve("manifest.json").delete() }
        push("other-backend") { folder ->
            val manifest = folder.resolve("manifest.json")
            manifest.writeText(manifest.readText().replace("\"onnx\"", "\"litert\""))
        }
        push("other-device") { folder ->
            val manifest = folder.resolve("manifest.json")
            manifest.writeText(
                manifest.readText()
                    .replace(MINIMUM, "")
                    .replace(ONNX, "$EXECUTORCH, \"minimum_runtime\": \"1.0\""),
            )
        }
        push("too-new") { folder ->
            val manifest = folder.resolve("manifest.json")
            manifest.writeText(
                manifest.readText().replace(MINIMUM, "").replace(ONNX, EXECUTORCH),
            )
        }
        push("garbage") { it.resolve("manifest.json").writeText("{") }
        open()

        assertEquals(7, cards.size)
        val reasons = mapOf(
            "no-file" to "dit.onnx: missing",
            "no-manifest" to "no manifest.json",
            "other-backend" to "litert",
            "other-device" to "native library",
            "too-new" to "which means 1.5.1",
            "garbage" to "JSON",
        )
        for ((name, reason) in reasons) {
            val broken = card(name)
            assertContains(broken.line(R.id.item_facts), reason)
            assertContains(broken.line(R.id.item_origin), "Cannot be used")
            assertFalse(broken.isEnabled)
        }
        assertEquals(Origin.PACKED, library.chosen?.origin)
    }

    @Test
    fun `a flow model is marked as one`() {
        push("flow") { folder ->
            val manifest = folder.resolve("manifest.json")
            val text = manifest.readText().replace(OBJECTIVE, "")
            manifest.writeText(text.replaceFirst("{", "{\"objective\": \"rectified_flow\","))
        }
        open()

        assertContains(card("Pushed by adb").line(R.id.item_facts), "A flow model")
    }

    @Test
    fun `a program that was altered is found when its bundle is chosen`() {
        push("tampered") { folder ->
            folder.resolve("dit.onnx").let { file ->
                val bytes = file.readBytes()
                bytes[bytes.size / 2]++
                file.writeBytes(bytes)
            }
        }
        open()
        card("Pushed by adb").performClick()
        await("the message") { screen.banner(R.id.error) != null }

        assertContains(screen.banner(R.id.error)!!, "dit.onnx: sha256 differs")
        await("the card") { "Cannot be used" in card("tampered").line(R.id.item_origin) }
        assertEquals(Origin.PACKED, library.chosen?.origin)
    }

    @Test
    fun `a zip becomes a bundle and is used`() {
        open()
        import(zip(bundleFiles("tiny-onnx/")))

        await("the import") { library.chosen?.origin == Origin.IMPORTED }
        assertEquals(listOf("tiny"), imported())
        import(zip(bundleFiles("")))
        await("the second") { library.chosen?.folder?.name == "tiny-2" }
        assertEquals(setOf("tiny", "tiny-2"), imported().toSet())
        assertNull(library.error)
    }

    @Test
    fun `a zip that leads elsewhere is refused and leaves nothing`() {
        open()
        import(zip(listOf("../../shared_prefs/evil.xml" to "x".toByteArray())))
        await("the message") { screen.banner(R.id.error) != null }

        assertContains(screen.banner(R.id.error)!!, "zip")
        assertEquals(emptyList(), imported())
        assertFalse(app.dataDir.resolve("shared_prefs/evil.xml").exists())
        assertEquals(1, cards.size)
    }

    @Test
    fun `what a dead process left half copied is removed`() {
        app.filesDir.resolve("bundles/imported/.tiny.unfinished/dit.onnx").let {
            it.parentFile!!.mkdirs()
            it.writeText("half")
        }
        val again = BundleShelves(app.filesDir.resolve("bundles"), { null }, app.cacheDir)
        again.prepare()

        assertEquals(emptyList(), imported())
    }

    @Test
    fun `a newer app replaces its packed bundle`() {
        open()
        val folder = library.chosen!!.folder
        val manifest = folder.resolve("manifest.json")
        manifest.writeText(manifest.readText().replace("\"tiny\"", "\"older\""))
        app.library.refresh()
        await("the older one") { library.chosen?.facts?.model == "older" }

        app.library.start()
        await("the newer one") { library.chosen?.facts?.model == "tiny" }
    }

    @Test
    fun `without any bundle it says how to get one`() {
        open()
        app.filesDir.resolve("bundles/packed").deleteRecursively()
        app.library.refresh()
        await("the empty list") { screen.view<View>(R.id.empty).isShown }

        assertEquals(
            "adb push BUNDLE /sdcard/Android/data/org.arcmobile.demo/files/bundles/",
            screen.text(R.id.push_command),
        )
        screen.click(R.id.copy_command)
        val clipboard = app.getSystemService(Context.CLIPBOARD_SERVICE) as ClipboardManager
        assertEquals(screen.text(R.id.push_command), clipboard.primaryClip?.getItemAt(0)?.text)
        app.session.generate(org.arcmobile.GenerationRequest("rain"))
        await("the message") { app.session.state.value.error != null }
        assertContains(app.session.state.value.error!!, "No model bundle")
    }

    @Test
    fun `copying without space is a message`() {
        setSpace(1L shl 20)
        open()
        await("the message") { screen.banner(R.id.error) != null }

        assertContains(screen.banner(R.id.error)!!, "Not enough space")
        assertTrue(library.bundles.isEmpty())
        setSpace(1L shl 30)
        screen.click(R.id.look_again)
        awaitBundle()
    }

    @Test
    fun `the list outlives turning the phone`() {
        push("from-adb")
        open()
        controller.recreate()

        assertEquals(2, cards.size)
    }

    private companion object {
        const val ONNX = "\"backend\": \"onnx\""
        const val EXECUTORCH = "\"backend\": \"executorch\""
        val MINIMUM = Regex("\"minimum_runtime\": [^,]*,")
        val OBJECTIVE = Regex("\"objective\": [^,]*,")
    }
}
