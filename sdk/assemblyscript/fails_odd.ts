// Failures: refuses rows with a reason; the pipeline decides what becomes of them.
import { register } from "./gristmill";
export { cabi_realloc, describe, process } from "./gristmill";

let orderId = 0;

register("fails_odd", "0.1.0", (setup) => {
  orderId = setup.read("order_id", "long");
}, (row, output) => {
  if (row.isNull(orderId)) output.fail("no order_id");
  else if (row.long(orderId) % 2 != 0) output.fail(`order_id ${row.long(orderId)} is odd`);
  else output.keep();
});
