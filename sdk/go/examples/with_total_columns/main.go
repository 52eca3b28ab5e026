// with_total at the level of columns.
package main

import (
	"gristmill"
	"strconv"
)

type config struct {
	Currency string `json:"currency"`
}

func init() {
	gristmill.Columns("with_total", "0.1.0", func(setup *gristmill.Setup) gristmill.BatchFunc {
		var config config
		setup.Config(&config)
		orderID := setup.Read("order_id", "long")
		price := setup.Read("price", "double")
		quantity := setup.Read("quantity", "int")
		total := setup.Make("total", "double")
		label := setup.Make("label", "string not null")
		return func(batch *gristmill.Batch, out *gristmill.Output) error {
			makeTotals(batch.Column(price), batch.Column(quantity), out.Made(total))
			makeLabels(batch.Column(orderID), config.Currency, out.Made(label))
			return nil
		}
	})
}

func makeTotals(prices, quantities *gristmill.Column, total *gristmill.Builder) {
	each, count := prices.Doubles(), quantities.Integers()
	for row := range each {
		if prices.IsNull(row) || quantities.IsNull(row) {
			total.PushNull()
		} else {
			total.PushDouble(each[row] * float64(count[row]))
		}
	}
}

func makeLabels(ids *gristmill.Column, currency string, label *gristmill.Builder) {
	var text []byte
	for row, id := range ids.Longs() {
		if ids.IsNull(row) {
			label.PushText("order ?")
			continue
		}
		text = append(strconv.AppendInt(append(text[:0], "order "...), id, 10), " in "...)
		label.PushBytes(append(text, currency...))
	}
}

func main() {}
