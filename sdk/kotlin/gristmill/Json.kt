// JSON as the host writes it, kept so that nothing is rounded: numbers stay digits until they are asked for.
package gristmill

/** A number as it stands in the text: its digits are all there. */
class Digits(val text: String) {
    override fun toString() = text
}

/**
 * An object: its members in their order, found by name. (Kotlin's own maps keep views that point back at
 * them; the collector of the host counts references, and would never take such a ring away.)
 */
class Members {
    val names = ArrayList<String>()
    val values = ArrayList<Any?>()

    fun put(name: String, value: Any?) {
        names.add(name)
        values.add(value)
    }

    fun has(name: String) = names.contains(name)

    /** The member; null if it is missing. */
    operator fun get(name: String): Any? {
        val index = names.indexOf(name)
        return if (index < 0) null else values[index]
    }
}

/** Not JSON, or JSON that does not fit. */
class NoJson(message: String) : Exception(message)

/** Reads null, Boolean, [Digits], String, List and [Members] out of UTF-8. */
internal class JsonReader(private val bytes: ByteArray) {
    private var at = 0

    val isAtEnd get() = peek() == END

    fun value(): Any? = when (peek()) {
        BRACE -> members()
        BRACKET -> items()
        QUOTE -> string()
        MINUS, in ZERO..NINE -> digits()
        else -> word()
    }

    private fun byte(): Int = if (at < bytes.size) bytes[at].toInt() else END

    /** The next byte that is no white space; stays there. */
    private fun peek(): Int {
        while (at < bytes.size && bytes[at] in 1..SPACE) at++
        return byte()
    }

    private fun eat(wanted: Int) {
        if (peek() != wanted) throw NoJson("expected `${wanted.toChar()}` at byte $at")
        at++
    }

    private fun members(): Members {
        val members = Members()
        eat(BRACE)
        if (peek() == END_BRACE) return members.also { at++ }
        while (true) {
            val name = string()
            eat(COLON)
            members.put(name, value())
            if (peek() != COMMA) break
            at++
        }
        eat(END_BRACE)
        return members
    }

    private fun items(): List<Any?> {
        val items = ArrayList<Any?>()
        eat(BRACKET)
        if (peek() == END_BRACKET) return items.also { at++ }
        while (true) {
            items.add(value())
            if (peek() != COMMA) break
            at++
        }
        eat(END_BRACKET)
        return items
    }

    private fun string(): String {
        eat(QUOTE)
        val plain = untilSpecial()
        if (byte() == QUOTE) return plain.also { at++ }
        val out = StringBuilder(plain)
        while (at < bytes.size) {
            if (bytes[at++].toInt() == QUOTE) return out.toString()
            out.append(escaped()).append(untilSpecial())
        }
        throw NoJson("a text has no end")
    }

    /** The text up to a quote or a backslash. */
    private fun untilSpecial(): String {
        val begin = at
        while (at < bytes.size && bytes[at].toInt() != QUOTE && bytes[at].toInt() != BACKSLASH) at++
        return bytes.decodeToString(begin, at)
    }

    private fun escaped(): Char = when (val char = byte().toChar().also { at++ }) {
        'b' -> '\b'
        'f' -> '\u000c'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> {
            at += 4
            val code = if (at <= bytes.size) bytes.decodeToString(at - 4, at).toIntOrNull(16) else null
            code?.toChar() ?: throw NoJson("`\\u` without four digits")
        }
        else -> char
    }

    private fun digits(): Digits {
        val begin = at
        while (byte() in ZERO..NINE || byte() in OF_NUMBERS) at++
        return Digits(bytes.decodeToString(begin, at))
    }

    private fun word(): Any? {
        val begin = at
        while (byte() in 'a'.code..'z'.code) at++
        return when (val word = bytes.decodeToString(begin, at)) {
            "null" -> null
            "true" -> true
            "false" -> false
            else -> throw NoJson("no value at byte $begin: `$word`")
        }
    }

    private companion object {
        const val END = 0
        const val SPACE = 32
        const val QUOTE = 34
        const val COMMA = 44
        const val MINUS = 45
        const val ZERO = 48
        const val NINE = 57
        const val COLON = 58
        const val BRACKET = 91
        const val BACKSLASH = 92
        const val END_BRACKET = 93
        const val BRACE = 123
        const val END_BRACE = 125

        /** `+`, `-`, `.`, `E`, `e` */
        val OF_NUMBERS = intArrayOf(43, 45, 46, 69, 101)
    }
}

/** Writes what [JsonReader] reads, and Kotlin's numbers, byte arrays (as base64) and [Row]s (as objects). */
internal fun StringBuilder.json(value: Any?): StringBuilder {
    when (value) {
        null, is Boolean, is Digits, is Int -> append(value)
        is Long -> quoted(value.toString())
        is Double -> if (value.isFinite()) append(value) else quoted(value.toString())
        is Float -> if (value.isFinite()) append(value) else quoted(value.toString())
        is ByteArray -> quoted(kotlin.io.encoding.Base64.encode(value))
        is Row -> json(value.members)
        is Members -> {
            append('{')
            for (index in value.names.indices) {
                if (index > 0) append(',')
                quoted(value.names[index]).append(':').json(value.values[index])
            }
            append('}')
        }
        is List<*> -> {
            append('[')
            for (index in value.indices) {
                if (index > 0) append(',')
                json(value[index])
            }
            append(']')
        }
        else -> quoted(value.toString())
    }
    return this
}

/** A text in quotes. */
internal fun StringBuilder.quoted(text: String): StringBuilder {
    append('"')
    for (char in text) {
        when {
            char == '"' || char == '\\' -> append('\\').append(char)
            char < ' ' -> append("\\u").append(char.code.toString(16).padStart(4, '0'))
            else -> append(char)
        }
    }
    return append('"')
}
