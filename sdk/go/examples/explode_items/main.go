// A flatten: one row per item.
package main

import "gristmill"

func init() {
	gristmill.Rows("explode_items", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
		items := setup.Read("items", "array<struct<item_id long, name string>>")
		itemID := setup.Make("item_id", "long")
		name := setup.Make("name", "string")
		setup.Drop("items")
		return func(row gristmill.Row, out *gristmill.Output) error {
			for _, item := range row.Structs(items) {
				out.Keep()
				out.Put(itemID, item.Value(0))
				out.Put(name, item.Value(1))
			}
			return nil
		}
	})
}

func main() {}
