// A filter: keeps the rows whose city is the one of the configuration.
import { register } from "./gristmill";
export { cabi_realloc, describe, process } from "./gristmill";

let wanted = "";
let city = 0;

register("keep_city", "0.1.0", (setup) => {
  wanted = setup.configText("city");
  city = setup.read("city", "string");
}, (row, output) => {
  if (!row.isNull(city) && row.text(city) == wanted) output.keep();
});
