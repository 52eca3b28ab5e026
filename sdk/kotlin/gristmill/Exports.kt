// The functions of the contract, and what goes through memory between host and stage.
@file:OptIn(UnsafeWasmMemoryApi::class, ExperimentalWasmInterop::class)

package gristmill

import kotlin.wasm.ExperimentalWasmInterop
import kotlin.wasm.WasmExport
import kotlin.wasm.unsafe.Pointer
import kotlin.wasm.unsafe.UnsafeWasmMemoryApi
import kotlin.wasm.unsafe.withScopedMemoryAllocator

/** Bytes of a result before its text: which of the two it is, where the text begins, and its length. */
private const val HEADER_BYTES = 12

/** What the host hands over begins at a multiple of this. */
private const val ALIGN = 8

/**
 * Memory for what the host hands over. Kotlin takes it back at once, for the next allocation: until then it
 * stays as it is, and there is none between this call and the one that reads it.
 */
@WasmExport
fun cabi_realloc(old: Int, oldBytes: Int, align: Int, bytes: Int): Int =
    (withScopedMemoryAllocator { it.allocate(bytes + ALIGN) }.address.toInt() + ALIGN - 1) and -ALIGN

@WasmExport
fun describe(at: Int, bytes: Int): Int {
    val request = bytesAt(at, bytes)
    return try {
        val setup = Setup(JsonReader(request).value() as Members)
        val stage = setup.stage()
        stage.describe(setup)
        result(0, StringBuilder().json(setup.answer(stage)).toString())
    } catch (refused: Exception) {
        result(1, refused.message ?: "the stage threw ${refused::class.simpleName}")
    }
}

@WasmExport
fun process(at: Int, bytes: Int): Int {
    val reader = JsonReader(bytesAt(at, bytes))
    val lines = StringBuilder()
    val output = Output(lines)
    while (!reader.isAtEnd) output.of(Row(reader.value() as Members), rowFunction)
    return result(0, lines.toString())
}

private fun bytesAt(at: Int, count: Int): ByteArray {
    val bytes = ByteArray(count)
    for (index in 0 until count) bytes[index] = Pointer((at + index).toUInt()).loadByte()
    return bytes
}

/** Puts a result where the host finds it: its kind (0: ok, 1: error), and its text. */
private fun result(kind: Int, text: String): Int {
    val bytes = text.encodeToByteArray()
    val at = withScopedMemoryAllocator { it.allocate(HEADER_BYTES + bytes.size) }
    at.storeInt(kind)
    (at + 4).storeInt((at + HEADER_BYTES).address.toInt())
    (at + 8).storeInt(bytes.size)
    for (index in bytes.indices) (at + (HEADER_BYTES + index)).storeByte(bytes[index])
    return at.address.toInt()
}
