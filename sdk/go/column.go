package gristmill

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Column is one column of a batch. Its slices lie in the batch itself: they are valid until the
// function over the batch returns. Values of elements that are null are any.
//
// A method that does not fit the column's type panics.
type Column struct {
	Type     *Type
	length   int
	nulls    int
	validity []byte // bits, least significant first, 1 = not null; nil: nothing is null
	offsets  []int32
	values   []byte
	children []Column
}

// Len is the number of elements.
func (c *Column) Len() int { return c.length }

// IsNull says whether an element is null.
func (c *Column) IsNull(i int) bool { return c.nulls > 0 && c.validity[i>>3]>>(i&7)&1 == 0 }

// Integers are the values of an int column, or the days of a date column.
func (c *Column) Integers() []int32 { return numbers[int32](c, Integer, Date) }

// Longs are the values of a long column, or the microseconds of a timestamp column.
func (c *Column) Longs() []int64 { return numbers[int64](c, Long, Timestamp) }

// Floats are the values of a float column.
func (c *Column) Floats() []float32 { return numbers[float32](c, Float, Float) }

// Doubles are the values of a double column.
func (c *Column) Doubles() []float64 { return numbers[float64](c, Double, Double) }

// Boolean is one value of a boolean column.
func (c *Column) Boolean(i int) bool {
	c.expect(Boolean, Boolean)
	return c.values[i>>3]>>(i&7)&1 == 1
}

// Bytes is one value of a string or binary column, without a copy.
func (c *Column) Bytes(i int) []byte {
	c.expect(String, Binary)
	return c.values[c.offsets[i]:c.offsets[i+1]]
}

// Decimal is one value of a decimal column.
func (c *Column) Decimal(i int) Decimal {
	c.expect(DecimalKind, DecimalKind)
	at := c.values[16*i : 16*i+16]
	high := binary.LittleEndian.Uint64(at[8:])
	return Decimal{High: int64(high), Low: binary.LittleEndian.Uint64(at), Scale: c.Type.Scale}
}

// Child is a member of a struct, the element of an array (0), key (0) and value (1) of a map.
func (c *Column) Child(i int) *Column { return &c.children[i] }

// Range says which elements of the child an array or map holds: from start to before end.
func (c *Column) Range(i int) (start, end int) {
	c.expect(Array, Map)
	return int(c.offsets[i]), int(c.offsets[i+1])
}

func (c *Column) expect(kind, or Kind) {
	if c.Type.Kind != kind && c.Type.Kind != or {
		panic(fmt.Sprintf("a column of %v was read as %v", c.Type, Type{Kind: kind}))
	}
}

func numbers[T int32 | int64 | float32 | float64](c *Column, kind, or Kind) []T {
	c.expect(kind, or)
	if c.length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&c.values[0])), c.length)
}

// Struct are the members of a struct in their order.
type Struct []any

// Entry is one entry of a map.
type Entry struct{ Key, Value any }

// Value is any value: nil, bool, int32, int64, float32, float64, [Decimal], string, []byte,
// [Struct], []any of an array, []Entry of a map. Texts and bytes are copies.
func (c *Column) Value(i int) any {
	if c.IsNull(i) {
		return nil
	}
	switch c.Type.Kind {
	case Boolean:
		return c.Boolean(i)
	case Integer, Date:
		return c.Integers()[i]
	case Long, Timestamp:
		return c.Longs()[i]
	case Float:
		return c.Floats()[i]
	case Double:
		return c.Doubles()[i]
	case DecimalKind:
		return c.Decimal(i)
	case String:
		return string(c.Bytes(i))
	case Binary:
		return append([]byte{}, c.Bytes(i)...)
	case StructKind:
		members := make(Struct, len(c.children))
		for child := range c.children {
			members[child] = c.children[child].Value(i)
		}
		return members
	}
	return c.listValue(i)
}

func (c *Column) listValue(i int) any {
	start, end := c.Range(i)
	if c.Type.Kind == Array {
		elements := make([]any, 0, end-start)
		for at := start; at < end; at++ {
			elements = append(elements, c.children[0].Value(at))
		}
		return elements
	}
	entries := make([]Entry, 0, end-start)
	for at := start; at < end; at++ {
		entries = append(entries, Entry{c.children[0].Value(at), c.children[1].Value(at)})
	}
	return entries
}
