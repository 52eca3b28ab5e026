// A flatten: one row per item.
import gristmill.*

fun main() = stage("explode_items", "0.1.0") {
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
