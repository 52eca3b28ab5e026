// Write a Gristmill stage in Kotlin: one function over one row.
//
//     import gristmill.*
//
//     fun main() = stage("keep_city", "0.1.0") {
//         val wanted = text("city")
//         reads("city", "string")
//         rows { row, output -> if (row.text("city") == wanted) output.keep() }
//     }
package gristmill

import kotlin.io.encoding.Base64

/** Refuses the configuration or the input of a stage: one line, lower case, no full stop. */
class Refusal(message: String) : Exception(message)

internal class Registered(val name: String, val version: String, val describe: Setup.() -> Unit)

internal val registered = ArrayList<Registered>()

/** What the stage does with a row. */
internal var rowFunction: (Row, Output) -> Unit = { _, output -> output.keep() }

/**
 * The module's stage, called by `main`. [describe] runs once per instance, before any row. In a module of
 * several stages, the key `stage` of the configuration says which one runs.
 */
fun stage(name: String, version: String, describe: Setup.() -> Unit) {
    registered.add(Registered(name, version, describe))
}

/** What a stage asks of its configuration and of the columns that arrive, and what it makes. */
class Setup internal constructor(request: Members) {
    private val config = request["config"] as? Members ?: Members()
    private val input = (request["input"] as? List<*> ?: emptyList<Any?>()).map { it as Members }
    private val keys = ArrayList<String>()
    private val keySchemas = Members()
    private val required = ArrayList<String>()
    private val reads = ArrayList<String>()
    private val columns = ArrayList<Members>()
    private val drops = ArrayList<String>()

    /** The names of the columns that arrive. */
    val inputs: List<String> get() = input.map { it["name"] as String }

    /** Refuses with a reason; one that begins with `config.KEY: ` points at the key in the pipeline file. */
    fun refuse(why: String): Nothing = throw Refusal(why)

    /** A key of the configuration that is a text; without a [default] it must be there. */
    fun text(key: String, default: String? = null): String =
        value(key, "string", "a text", default) { it as? String }

    /** A key that is a whole number. */
    fun long(key: String, default: Long? = null): Long =
        value(key, "integer", "a whole number", default) { (it as? Digits)?.text?.toLongOrNull() }

    /** A key that is a number. */
    fun double(key: String, default: Double? = null): Double =
        value(key, "number", "a number", default) { (it as? Digits)?.text?.toDoubleOrNull() }

    /** A key that is true or false. */
    fun boolean(key: String, default: Boolean? = null): Boolean =
        value(key, "boolean", "true or false", default) { it as? Boolean }

    private fun <T : Any> value(key: String, type: String, expected: String, default: T?, read: (Any?) -> T?): T {
        keys.add(key)
        keySchemas.put(key, Members().apply { put("type", type) })
        if (default == null) required.add(key)
        if (!config.has(key)) return default ?: refuse("config.$key: this key is required")
        return read(config[key]) ?: refuse("config.$key: expected $expected")
    }

    /** Reads an input column of this type: `long`, `decimal(10,2)`, `array`, `struct`, …; null: of any. */
    fun reads(column: String, type: String? = null) {
        val found = (field(column)["type"] as? Members)?.get("type") ?: field(column)["type"]
        if (type != null && found != contractType(type)) {
            refuse("the stage reads column `$column` as $type, and it is $found")
        }
        reads.add(column)
    }

    /** Makes a column of a scalar type; one named as an input column replaces it. */
    fun makes(column: String, type: String, nullable: Boolean = true) {
        columns.add(Members().apply {
            put("name", column)
            put("type", contractType(type))
            put("nullable", nullable)
        })
    }

    /** Makes a column of the type of an input column, whatever that is. */
    fun makesLike(column: String, input: String) {
        val field = field(input)
        columns.add(Members().apply {
            put("name", column)
            put("type", field["type"])
            put("nullable", field["nullable"])
        })
    }

    /** Ends an input column at this stage. */
    fun drops(column: String) {
        drops.add(column)
    }

    /** What the stage does with each row. */
    fun rows(function: (Row, Output) -> Unit) {
        rowFunction = function
    }

    private fun field(column: String): Members = input.firstOrNull { it["name"] == column }
        ?: refuse("the stage reads `$column`, and there is no such column")

    /** The one stage of the module, or that which the configuration names. */
    internal fun stage(): Registered {
        if (registered.isEmpty()) refuse("the module has no stage: `main` must call `stage(name, version) { … }`")
        if (registered.size == 1) return registered[0]
        val name = text("stage")
        return registered.firstOrNull { it.name == name } ?: refuse("config.stage: the module has no stage `$name`")
    }

    /** The answer of `describe`. */
    internal fun answer(stage: Registered): Members {
        config.names.firstOrNull { it !in keys }?.let { refuse("config.$it: unknown key") }
        return Members().apply {
            put("contract", "1.0")
            put("encoding", "json")
            put("name", stage.name)
            put("version", stage.version)
            put("reads", reads)
            put("columns", columns)
            put("drops", drops)
            put("config_schema", Members().apply {
                put("type", "object")
                put("properties", keySchemas)
                put("required", required)
                put("additionalProperties", false)
            })
        }
    }
}

/** Names as people write them, beside those of the contract. */
private fun contractType(type: String) = when (type) {
    "int" -> "integer"
    "bigint" -> "long"
    else -> type
}

/** One row, or one struct within it. A value is null if the column is. */
class Row internal constructor(internal val members: Members) {
    /** As it came: Boolean, [Digits] or their text, String, List, [Members]. */
    fun value(column: String): Any? = members[column]

    fun isNull(column: String) = value(column) == null

    fun boolean(column: String) = value(column) as Boolean?

    fun int(column: String) = value(column)?.toString()?.toInt()

    fun long(column: String) = value(column)?.toString()?.toLong()

    fun float(column: String) = value(column)?.toString()?.toFloat()

    fun double(column: String) = value(column)?.toString()?.toDouble()

    /** A string; the digits of a decimal; a date as `2026-11-01`, a timestamp as `2026-11-01T09:30:00.000000Z`. */
    fun text(column: String) = value(column)?.toString()

    fun bytes(column: String): ByteArray? = text(column)?.let { Base64.decode(it) }

    fun struct(column: String) = (value(column) as Members?)?.let { Row(it) }

    /** The elements of an array, as [value] gives them. */
    fun list(column: String): List<Any?>? = value(column) as List<*>?

    /** The structs of an array, those that are null left out; none if the array is null. */
    fun structs(column: String): List<Row> =
        (list(column) ?: emptyList()).filterIsInstance<Members>().map { Row(it) }
}

/** What becomes of a row: output rows, or a failure; a row with neither is filtered. */
class Output internal constructor(private val lines: StringBuilder) {
    internal var row = 0

    /** Makes an output row with these values of the columns that the stage makes; others are null or carried. */
    fun keep(vararg values: Pair<String, Any?>) {
        lines.append("{\"__row\":").append(row)
        for ((column, value) in values) lines.append(',').quoted(column).append(':').json(value)
        lines.append("}\n")
    }

    /** Refuses the row with a reason. */
    fun fail(why: String): Nothing = throw Refusal(why)

    /** Runs the row's function; what it throws refuses the row. */
    internal fun of(row: Row, function: (Row, Output) -> Unit) {
        val begin = lines.length
        try {
            function(row, this)
        } catch (thrown: Exception) {
            lines.setLength(begin)
            val why = thrown.message ?: "the stage threw ${thrown::class.simpleName}"
            lines.append("{\"__row\":").append(this.row).append(",\"__failure\":").quoted(why).append("}\n")
        }
        this.row++
    }
}
