// Gives every column back without a copy.
package main

import "gristmill"

func init() {
	gristmill.Columns("every_type", "0.1.0", func(setup *gristmill.Setup) gristmill.BatchFunc {
		for _, field := range setup.Input {
			setup.Read(field.Name, "")
			setup.MakeField(field)
		}
		return func(batch *gristmill.Batch, out *gristmill.Output) error {
			for column := range setup.Input {
				out.Give(column, batch.Column(column))
			}
			return nil
		}
	})
}

func main() {}
