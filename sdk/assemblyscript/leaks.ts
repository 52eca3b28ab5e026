// A stage that leaks: it remembers every row. This costs its instance now and then, and the host nothing.
import { register } from "./gristmill";
export { cabi_realloc, describe, process } from "./gristmill";

const seen: string[] = [];
let city = 0;

register("leaks", "0.1.0", (setup) => {
  city = setup.read("city", "string");
}, (row, output) => {
  seen.push(row.text(city));
  output.keep();
});
