// A filter: keeps the rows whose city is the one of the configuration.
import gristmill.*

fun main() = stage("keep_city", "0.1.0") {
    val wanted = text("city")
    reads("city", "string")
    rows { row, output -> if (row.text("city") == wanted) output.keep() }
}
