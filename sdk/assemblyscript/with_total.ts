// A map: makes two columns and keeps every row.
import { register } from "./gristmill";
export { cabi_realloc, describe, process } from "./gristmill";

let currency = "";
let orderId = 0, price = 0, quantity = 0, total = 0, label = 0;

register("with_total", "0.1.0", (setup) => {
  currency = setup.configText("currency");
  orderId = setup.read("order_id", "long");
  price = setup.read("price", "double");
  quantity = setup.read("quantity", "int");
  total = setup.make("total", "double");
  label = setup.make("label", "string not null");
}, (row, output) => {
  output.keep();
  if (!row.isNull(price) && !row.isNull(quantity)) {
    output.setDouble(total, row.double(price) * row.integer(quantity));
  }
  output.setText(label, row.isNull(orderId) ? "order ?" : `order ${row.long(orderId)} in ${currency}`);
});
