// A filter: keeps the rows whose city is the one of the configuration.
package main

import "gristmill"

type config struct {
	City string `json:"city"`
}

func init() {
	gristmill.Rows("keep_city", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
		var config config
		setup.Config(&config)
		city := setup.Read("city", "string")
		return func(row gristmill.Row, out *gristmill.Output) error {
			if value, ok := row.Text(city); ok && value == config.City {
				out.Keep()
			}
			return nil
		}
	})
}

func main() {}
