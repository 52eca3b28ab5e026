// A map: makes two columns and keeps every row.
import gristmill.*

fun main() = stage("with_total", "0.1.0") {
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
