// A flatten: one row per item.
import { register } from "./gristmill";
export { cabi_realloc, describe, process } from "./gristmill";

let items = 0, itemId = 0, name = 0;

register("explode_items", "0.1.0", (setup) => {
  items = setup.read("items", "array"); // of struct<item_id long, name string>
  itemId = setup.make("item_id", "long");
  name = setup.make("name", "string");
  setup.drop("items");
}, (row, output) => {
  const list = row.structs(items);
  for (let i = 0; i < list.length; i++) {
    output.keep();
    if (!list[i].isNull(0)) output.setLong(itemId, list[i].long(0));
    if (!list[i].isNull(1)) output.setText(name, list[i].text(1));
  }
});
