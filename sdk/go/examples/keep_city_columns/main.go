// keep_city at the level of columns.
package main

import "gristmill"

type config struct {
	City string `json:"city"`
}

func init() {
	gristmill.Columns("keep_city", "0.1.0", func(setup *gristmill.Setup) gristmill.BatchFunc {
		var config config
		setup.Config(&config)
		city := setup.Read("city", "string")
		return func(batch *gristmill.Batch, out *gristmill.Output) error {
			cities := batch.Column(city)
			out.KeepNone()
			for row := range batch.RowCount {
				if !cities.IsNull(row) && string(cities.Bytes(row)) == config.City {
					out.KeepRow(row)
				}
			}
			return nil
		}
	})
}

func main() {}
