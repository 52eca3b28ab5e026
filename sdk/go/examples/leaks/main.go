// A stage that leaks: it remembers every row. This costs its instance now and then, and the host nothing.
package main

import "gristmill"

var seen []string

func init() {
	gristmill.Rows("leaks", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
		city := setup.Read("city", "string")
		return func(row gristmill.Row, out *gristmill.Output) error {
			value, _ := row.Text(city)
			seen = append(seen, value+" and so that it is a text of its own")
			out.Keep()
			return nil
		}
	})
}

func main() {}
