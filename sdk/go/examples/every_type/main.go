// Reads all columns, whatever they are, and makes them anew, value by value.
package main

import "gristmill"

func init() {
	gristmill.Rows("every_type", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
		for _, field := range setup.Input {
			setup.Read(field.Name, "")
			setup.MakeField(field)
		}
		return func(row gristmill.Row, out *gristmill.Output) error {
			out.Keep()
			for column := range setup.Input {
				out.Put(column, row.Value(column))
			}
			return nil
		}
	})
}

func main() {}
