// Package gristmill is for writing stages: transformations of rows that run as WebAssembly modules
// inside a pipeline.
//
// There are two levels: [Rows], for comfort, is one function over one row; [Columns], for speed, is
// one function over a batch of columns. Both begin with a function over [Setup], which reads the
// configuration and says which columns are read and made. Columns that a stage does not make are
// carried by the host and never cross the boundary.
//
//	func init() {
//		gristmill.Rows("keep_city", "0.1.0", func(setup *gristmill.Setup) gristmill.RowFunc {
//			var config struct {
//				City string `json:"city"`
//			}
//			setup.Config(&config)
//			city := setup.Read("city", "string")
//			return func(row gristmill.Row, out *gristmill.Output) error {
//				if value, ok := row.Text(city); ok && value == config.City {
//					out.Keep()
//				}
//				return nil
//			}
//		})
//	}
//
//	func main() {}
//
// Build it as a reactor:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags="-s -w" -o stage.wasm .
//
// A stage keeps no state from batch to batch: a batch may be replayed, split in halves, or sent to a
// fresh instance at any time.
//
// Types are written as in SQL: boolean, int, long, float, double, decimal(10,2), string, binary,
// date, timestamp, array<T>, map<K,V>, struct<name T, …>; with "not null" behind it a column, member
// or element is never null. In Go a date is an int32 (days since 1970-01-01), a timestamp an int64
// (microseconds since 1970-01-01 in UTC), a decimal a [Decimal].
//
// A panic traps: the host makes a new instance and finds the row that is to blame.
package gristmill
