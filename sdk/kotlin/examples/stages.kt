// All examples in one module, since a module of its own takes the compiler half a minute: the key `stage`
// of the configuration says which one runs.
import gristmill.*

fun main() {
    keepCity()
    withTotal()
    explodeItems()
    failsOdd()
    everyType()
    leaks()
}

// A filter: keeps the rows whose city is the one of the configuration.
private fun keepCity() = stage("keep_city", "0.1.0") {
    val wanted = text("city")
    reads("city", "string")
    rows { row, output -> if (row.text("city") == wanted) output.keep() }
}

// A map: makes two columns and keeps every row.
private fun withTotal() = stage("with_total", "0.1.0") {
    val currency = text("currency")
    reads("order_id", "long")
    reads("price", "double")
    reads("quantity", "int")
    makes("total", "double")
    makes("label", "string", nullable = false)
    rows { row, output ->
        val price = row.double("price")
        val quantity = row.int("quantity")
        output.keep(
            "total" to if (price == null || quantity == null) null else price * quantity,
            "label" to (row.long("order_id")?.let { "order $it in $currency" } ?: "order ?"),
        )
    }
}

// A flatten: one row per item.
private fun explodeItems() = stage("explode_items", "0.1.0") {
    reads("items", "array") // of struct<item_id long, name string>
    makes("item_id", "long")
    makes("name", "string")
    drops("items")
    rows { row, output ->
        for (item in row.structs("items")) {
            output.keep("item_id" to item.long("item_id"), "name" to item.text("name"))
        }
    }
}

// Failures: refuses rows with a reason; the pipeline decides what becomes of them.
private fun failsOdd() = stage("fails_odd", "0.1.0") {
    reads("order_id", "long")
    rows { row, output ->
        val id = row.long("order_id") ?: output.fail("no order_id")
        if (id % 2 != 0L) output.fail("order_id $id is odd")
        output.keep()
    }
}

// Reads all columns, whatever they are, and makes them anew, value by value.
private fun everyType() = stage("every_type", "0.1.0") {
    for (column in inputs) {
        reads(column)
        makesLike(column, column)
    }
    rows { row, output ->
        output.keep(
            "id" to row.int("id"),
            "flag" to row.boolean("flag"),
            "small" to row.int("small"),
            "large" to row.long("large"),
            "single" to row.float("single"),
            "wide" to row.double("wide"),
            "amount" to row.text("amount"),
            "huge" to row.text("huge"),
            "text" to row.text("text"),
            "bytes" to row.bytes("bytes"),
            "day" to row.text("day"),
            "time" to row.text("time"),
            "point" to row.struct("point"),
            "longs" to row.list("longs"),
            "flags" to row.list("flags"),
            "names" to row.list("names"),
            "items" to row.list("items"),
            "counts" to row.value("counts"),
            "by_id" to row.list("by_id"),
        )
    }
}

private val seen = ArrayList<ByteArray>()

// A stage that leaks: it remembers something of every row. This costs its instance now and then, and the
// host nothing.
private fun leaks() = stage("leaks", "0.1.0") {
    reads("city", "string")
    rows { _, output ->
        seen.add(ByteArray(64))
        output.keep()
    }
}
