// Failures: refuses rows with a reason; the pipeline decides what becomes of them.
import { fail, register } from "./gristmill";
export { cabi_realloc, describe, process } from "./gristmill";

register(
  (_request) => '{"contract":"1.0","name":"fails_odd","version":"0.1.0","reads":["order_id"]}',
  (row) => {
    if (row.isNull(0)) return fail("no order_id");
    const id = row.long(0);
    return id % 2 != 0 ? fail("order_id " + id.toString() + " is odd") : true;
  },
);
