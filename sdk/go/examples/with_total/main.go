// A map: makes two columns and keeps every row.
package main

import (
	"gristmill"
	"strconv"
)

type config struct {
	Currency string `json:"currency"`
}

func init() {
	gristmill.Rows("with_total", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
		var config config
		setup.Config(&config)
		orderID := setup.Read("order_id", "long")
		price := setup.Read("price", "double")
		quantity := setup.Read("quantity", "int")
		total := setup.Make("total", "double")
		label := setup.Make("label", "string not null")
		return func(row gristmill.Row, out *gristmill.Output) error {
			out.Keep()
			each, priced := row.Double(price)
			count, counted := row.Integer(quantity)
			if priced && counted {
				out.Put(total, each*float64(count))
			}
			if id, ok := row.Long(orderID); ok {
				out.Put(label, "order "+strconv.FormatInt(id, 10)+" in "+config.Currency)
			} else {
				out.Put(label, "order ?")
			}
			return nil
		}
	})
}

func main() {}
