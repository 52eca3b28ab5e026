package gristmill

// Row is one row of a batch, or one struct within it. A column is named by what [Setup.Read]
// answered, a member of a struct by its place in the struct.
//
// Methods answer false if the value is null, and panic if the column is of another type.
type Row struct {
	columns []Column
	index   int
}

// IsNull says whether a value is null.
func (r Row) IsNull(column int) bool { return r.columns[column].IsNull(r.index) }

func (r Row) Boolean(column int) (value, ok bool) {
	if r.IsNull(column) {
		return false, false
	}
	return r.columns[column].Boolean(r.index), true
}

// Integer is an int, or the days of a date.
func (r Row) Integer(column int) (value int32, ok bool) {
	if r.IsNull(column) {
		return 0, false
	}
	return r.columns[column].Integers()[r.index], true
}

// Long is a long, or the microseconds of a timestamp.
func (r Row) Long(column int) (value int64, ok bool) {
	if r.IsNull(column) {
		return 0, false
	}
	return r.columns[column].Longs()[r.index], true
}

func (r Row) Float(column int) (value float32, ok bool) {
	if r.IsNull(column) {
		return 0, false
	}
	return r.columns[column].Floats()[r.index], true
}

func (r Row) Double(column int) (value float64, ok bool) {
	if r.IsNull(column) {
		return 0, false
	}
	return r.columns[column].Doubles()[r.index], true
}

func (r Row) Decimal(column int) (value Decimal, ok bool) {
	if r.IsNull(column) {
		return Decimal{}, false
	}
	return r.columns[column].Decimal(r.index), true
}

// Text is a string.
func (r Row) Text(column int) (value string, ok bool) {
	if r.IsNull(column) {
		return "", false
	}
	return string(r.columns[column].Bytes(r.index)), true
}

// Bytes is a binary, or the bytes of a string, without a copy: valid until the function returns.
func (r Row) Bytes(column int) (value []byte, ok bool) {
	if r.IsNull(column) {
		return nil, false
	}
	return r.columns[column].Bytes(r.index), true
}

// Struct is a struct.
func (r Row) Struct(column int) (value Row, ok bool) {
	if r.IsNull(column) {
		return Row{}, false
	}
	r.columns[column].expect(StructKind, StructKind)
	return Row{r.columns[column].children, r.index}, true
}

// Structs are the elements of an array of structs; none if it is null. Elements that are null are
// left out.
func (r Row) Structs(column int) []Row {
	if r.IsNull(column) {
		return nil
	}
	start, end := r.columns[column].Range(r.index)
	elements := r.columns[column].Child(0)
	elements.expect(StructKind, StructKind)
	rows := make([]Row, 0, end-start)
	for at := start; at < end; at++ {
		if !elements.IsNull(at) {
			rows = append(rows, Row{elements.children, at})
		}
	}
	return rows
}

// Value is a value of any type, as [Column.Value] says; nil if it is null.
func (r Row) Value(column int) any { return r.columns[column].Value(r.index) }
