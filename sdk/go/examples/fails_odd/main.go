// Failures: refuses rows with a reason; the pipeline decides what becomes of them.
package main

import (
	"errors"
	"fmt"
	"gristmill"
)

func init() {
	gristmill.Rows("fails_odd", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
		orderID := setup.Read("order_id", "long")
		return func(row gristmill.Row, out *gristmill.Output) error {
			id, ok := row.Long(orderID)
			if !ok {
				return errors.New("no order_id")
			}
			if id%2 != 0 {
				return fmt.Errorf("order_id %d is odd", id)
			}
			out.Keep()
			return nil
		}
	})
}

func main() {}
