package gristmill

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// Builder is a column that grows. Its memory is kept from batch to batch.
//
// A method that does not fit the column's type panics.
type Builder struct {
	Type     *Type
	length   int
	nulls    int
	validity []byte // empty until the first null
	offsets  []int32
	values   []byte
	children []Builder
	lent     []Column
}

func newBuilder(t *Type) Builder {
	b := Builder{Type: t, children: make([]Builder, len(t.Fields)), lent: make([]Column, len(t.Fields))}
	for i := range t.Fields {
		b.children[i] = newBuilder(&t.Fields[i].Type)
	}
	b.clear()
	return b
}

// Len is the number of elements.
func (b *Builder) Len() int { return b.length }

// Child is a member of a struct, the element of an array (0), key (0) and value (1) of a map: push
// into it first, then close the element with [Builder.PushStruct] or [Builder.PushList].
func (b *Builder) Child(i int) *Builder { return &b.children[i] }

func (b *Builder) clear() {
	b.length, b.nulls = 0, 0
	b.validity, b.values, b.offsets = b.validity[:0], b.values[:0], b.offsets[:0]
	if b.Type.Kind.hasOffsets() {
		b.offsets = append(b.offsets, 0)
	}
	for i := range b.children {
		b.children[i].clear()
	}
}

func pushBit(bits []byte, index int, value bool) []byte {
	if index%8 == 0 {
		bits = append(bits, 0)
	}
	if value {
		bits[index/8] |= 1 << (index % 8)
	}
	return bits
}

func truncateBits(bits []byte, length int) []byte {
	bits = bits[:(length+7)/8]
	if length%8 != 0 {
		bits[length/8] &= 1<<(length%8) - 1
	}
	return bits
}

// count is one more element. The bitmap begins with the first null.
func (b *Builder) count(valid bool) {
	if !valid {
		if b.nulls == 0 {
			b.validity = b.validity[:0]
			for i := 0; i < b.length; i++ {
				b.validity = pushBit(b.validity, i, true)
			}
		}
		b.nulls++
	}
	if b.nulls > 0 {
		b.validity = pushBit(b.validity, b.length, valid)
	}
	b.length++
}

func (b *Builder) expect(kind, or Kind) {
	if b.Type.Kind != kind && b.Type.Kind != or {
		panic(fmt.Sprintf("%v was pushed into a column of %v", Type{Kind: kind}, b.Type))
	}
}

// PushNull appends a null; of a struct, its members become null, too.
func (b *Builder) PushNull() {
	kind := b.Type.Kind
	if kind == Boolean {
		b.values = pushBit(b.values, b.length, false)
	}
	if kind.hasOffsets() {
		b.offsets = append(b.offsets, b.offsets[b.length])
	}
	b.values = append(b.values, make([]byte, kind.valueBytes())...)
	if kind == StructKind {
		for i := range b.children {
			b.children[i].PushNull()
		}
	}
	b.count(false)
}

func (b *Builder) PushBoolean(value bool) {
	b.expect(Boolean, Boolean)
	b.values = pushBit(b.values, b.length, value)
	b.count(true)
}

// PushInteger appends an int, or the days of a date.
func (b *Builder) PushInteger(value int32) {
	b.expect(Integer, Date)
	b.values = binary.LittleEndian.AppendUint32(b.values, uint32(value))
	b.count(true)
}

// PushLong appends a long, or the microseconds of a timestamp.
func (b *Builder) PushLong(value int64) {
	b.expect(Long, Timestamp)
	b.values = binary.LittleEndian.AppendUint64(b.values, uint64(value))
	b.count(true)
}

func (b *Builder) PushFloat(value float32) {
	b.expect(Float, Float)
	b.values = binary.LittleEndian.AppendUint32(b.values, math.Float32bits(value))
	b.count(true)
}

func (b *Builder) PushDouble(value float64) {
	b.expect(Double, Double)
	b.values = binary.LittleEndian.AppendUint64(b.values, math.Float64bits(value))
	b.count(true)
}

// PushDecimal appends a decimal of the column's scale.
func (b *Builder) PushDecimal(value Decimal) {
	b.expect(DecimalKind, DecimalKind)
	if value.Scale != b.Type.Scale {
		panic(fmt.Sprintf("a decimal of scale %d was pushed into a column of %v", value.Scale, b.Type))
	}
	b.values = binary.LittleEndian.AppendUint64(b.values, value.Low)
	b.values = binary.LittleEndian.AppendUint64(b.values, uint64(value.High))
	b.count(true)
}

func (b *Builder) PushText(value string) {
	b.expect(String, String)
	b.values = append(b.values, value...)
	b.pushEnd(len(b.values))
}

// PushBytes appends a binary, or the UTF-8 of a string.
func (b *Builder) PushBytes(value []byte) {
	b.expect(Binary, String)
	b.values = append(b.values, value...)
	b.pushEnd(len(b.values))
}

func (b *Builder) pushEnd(end int) {
	if end > math.MaxInt32 {
		panic("a column of more than 2 GiB")
	}
	b.offsets = append(b.offsets, int32(end))
	b.count(true)
}

// PushStruct closes one struct: every member was pushed once since the last.
func (b *Builder) PushStruct() {
	b.expect(StructKind, StructKind)
	b.count(true)
	for i := range b.children {
		if b.children[i].length != b.length {
			panic(fmt.Sprintf("member `%s` of a struct was not pushed once", b.Type.Fields[i].Name))
		}
	}
}

// PushList closes one array or map: it holds what was pushed into its children since the last.
func (b *Builder) PushList() {
	b.expect(Array, Map)
	end := b.children[0].length
	if b.Type.Kind == Map && b.children[1].length != end {
		panic("a key of a map was pushed without its value, or a value without its key")
	}
	b.pushEnd(end)
}

// Push appends any value, as [Column.Value] gives it; an int fits where a number is whole.
func (b *Builder) Push(value any) {
	switch value := value.(type) {
	case nil:
		b.PushNull()
	case bool:
		b.PushBoolean(value)
	case int32:
		b.PushInteger(value)
	case int64:
		b.PushLong(value)
	case int:
		b.pushWhole(value)
	case float32:
		b.PushFloat(value)
	case float64:
		b.PushDouble(value)
	case Decimal:
		b.PushDecimal(value)
	case string:
		b.PushText(value)
	case []byte:
		b.PushBytes(value)
	default:
		b.pushNested(value)
	}
}

func (b *Builder) pushWhole(value int) {
	switch b.Type.Kind {
	case Integer, Date:
		if value < math.MinInt32 || value > math.MaxInt32 {
			panic(fmt.Sprintf("%d does not fit in %v", value, b.Type))
		}
		b.PushInteger(int32(value))
	default:
		b.PushLong(int64(value))
	}
}

func (b *Builder) pushNested(value any) {
	switch value := value.(type) {
	case Struct:
		b.expect(StructKind, StructKind)
		if len(value) != len(b.children) {
			panic(fmt.Sprintf("%d members were pushed into a column of %v", len(value), b.Type))
		}
		for i, member := range value {
			b.children[i].Push(member)
		}
		b.PushStruct()
	case []any:
		b.expect(Array, Array)
		for _, element := range value {
			b.children[0].Push(element)
		}
		b.PushList()
	case []Entry:
		b.expect(Map, Map)
		for _, entry := range value {
			b.children[0].Push(entry.Key)
			b.children[1].Push(entry.Value)
		}
		b.PushList()
	default:
		panic(fmt.Sprintf("a %T was pushed into a column of %v", value, b.Type))
	}
}

// truncate goes back to length elements, and drops what an element that was never closed left in
// the children.
func (b *Builder) truncate(length int) {
	if b.length < length {
		return
	}
	if b.nulls > 0 {
		for i := length; i < b.length; i++ {
			if b.validity[i/8]>>(i%8)&1 == 0 {
				b.nulls--
			}
		}
		b.validity = truncateBits(b.validity, length)
	}
	b.length = length
	end := length
	if b.Type.Kind.hasOffsets() {
		b.offsets = b.offsets[:length+1]
		end = int(b.offsets[length])
	}
	switch b.Type.Kind {
	case Boolean:
		b.values = truncateBits(b.values, length)
	case String, Binary:
		b.values = b.values[:end]
	default:
		b.values = b.values[:length*b.Type.Kind.valueBytes()]
	}
	for i := range b.children {
		b.children[i].truncate(end)
	}
}

// lend is the column so far.
func (b *Builder) lend() Column {
	for i := range b.children {
		b.lent[i] = b.children[i].lend()
	}
	return Column{
		Type: b.Type, length: b.length, nulls: b.nulls, validity: b.validity,
		offsets: b.offsets, values: b.values, children: b.lent,
	}
}

// bytesOf are the bytes of numbers.
func bytesOf[T int32 | uint32](numbers []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(numbers))), 4*len(numbers))
}
