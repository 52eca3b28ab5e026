package gristmill

// reasonBytesMax is the longest reason of a failure; the rest is cut.
const reasonBytesMax = 4096

// Output is what becomes of a batch.
type Output struct {
	inputRows int
	row       uint32 // the input row at hand
	mark      int    // output rows before it
	given     bool
	rows      []uint32
	failures  []uint32
	reasonEnd []int32
	reasons   []byte
	builders  []Builder
	columns   []Column
}

func (o *Output) begin(inputRows int) {
	o.inputRows, o.given = inputRows, false
	o.rows, o.failures, o.reasons = o.rows[:0], o.failures[:0], o.reasons[:0]
	o.reasonEnd = append(o.reasonEnd[:0], 0)
	clear(o.columns)
	for i := range o.builders {
		o.builders[i].clear()
	}
}

// Keep makes one more output row of the input row at hand. A row that is not kept is dropped; one
// that is kept several times becomes several rows. Only at the level of rows.
func (o *Output) Keep() { o.KeepRow(int(o.row)) }

// Put is the value of a made column in the row that was kept last; a column that gets none is null
// there. Values are those of [Builder.Push]. Only at the level of rows.
func (o *Output) Put(column int, value any) { o.Made(column).Push(value) }

// Made is the builder of a made column. At the level of rows it is at the row that was kept last;
// push one value. At the level of columns, push one value per output row.
func (o *Output) Made(column int) *Builder {
	b := &o.builders[column]
	if o.mark < 0 {
		return b
	}
	if b.length >= len(o.rows) {
		panic("a value was put twice, or before Keep")
	}
	for b.length < len(o.rows)-1 {
		b.PushNull()
	}
	return b
}

// KeepRow makes one more output row of any input row. Only at the level of columns. A stage that
// keeps no row by number keeps all of them in place.
func (o *Output) KeepRow(row int) {
	o.given = true
	o.rows = append(o.rows, uint32(row))
}

// KeepNone says that no row is kept but those of [Output.KeepRow].
func (o *Output) KeepNone() { o.given = true }

// Fail refuses an input row with a reason. Rows are refused in ascending order, each once, and none
// of them is kept. Only at the level of columns.
func (o *Output) Fail(row int, reason string) {
	if len(reason) > reasonBytesMax {
		reason = cut(reason)
	}
	o.failures = append(o.failures, uint32(row))
	o.reasons = append(o.reasons, reason...)
	o.reasonEnd = append(o.reasonEnd, int32(len(o.reasons)))
}

// cut ends a reason before the character that is too much.
func cut(reason string) string {
	end := reasonBytesMax
	for end > 0 && reason[end]&0xc0 == 0x80 {
		end--
	}
	return reason[:end]
}

// Give is a made column that lies anywhere, such as one of the input, without a copy. Only at the
// level of columns.
func (o *Output) Give(column int, view *Column) {
	view.expect(o.builders[column].Type.Kind, view.Type.Kind)
	o.columns[column] = *view
}

// takeBack undoes what was kept of the row at hand.
func (o *Output) takeBack() {
	o.rows = o.rows[:o.mark]
	for i := range o.builders {
		o.builders[i].truncate(o.mark)
	}
}

func (o *Output) rowCount() int {
	if o.given {
		return len(o.rows)
	}
	return o.inputRows
}

// end completes the columns at the level of rows, and lends all of them.
func (o *Output) end(rows bool) {
	for i := range o.builders {
		for rows && o.builders[i].length < len(o.rows) {
			o.builders[i].PushNull()
		}
		if o.columns[i].Type == nil {
			o.columns[i] = o.builders[i].lend()
		}
	}
}

// everyRowOnce says whether the rows need no numbers.
func (o *Output) everyRowOnce() bool {
	if !o.given {
		return true
	}
	if len(o.rows) != o.inputRows || len(o.failures) > 0 {
		return false
	}
	for i, row := range o.rows {
		if int(row) != i {
			return false
		}
	}
	return true
}
