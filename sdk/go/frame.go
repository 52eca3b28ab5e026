package gristmill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// Sizes of frame.md in the contract.
const (
	headerBytes     = 64
	descriptorBytes = 32
	flagRows        = 1
)

var le = binary.LittleEndian

// frameReader walks over the arrays of a frame. Every number is checked before it is used.
type frameReader struct {
	frame  []byte
	table  []byte
	stride int
	err    error
}

// readFrame reads a batch.
func readFrame(frame []byte, fields []Field) (rows int, columns []Column, err error) {
	if len(frame) < headerBytes || string(frame[:4]) != "GMF1" {
		return 0, nil, errors.New("no frame")
	}
	size, rows := int(le.Uint32(frame[8:])), int(le.Uint32(frame[12:]))
	header, stride := int(le.Uint16(frame[4:])), int(le.Uint16(frame[6:]))
	end := uint64(header) + uint64(stride)*uint64(le.Uint32(frame[16:]))
	if size > len(frame) || header < headerBytes || stride < descriptorBytes || end > uint64(size) {
		return 0, nil, errors.New("a malformed header of a frame")
	}
	in := frameReader{frame: frame[:size], table: frame[header:end], stride: stride}
	columns = make([]Column, len(fields))
	for i := range fields {
		in.column(&fields[i].Type, rows, true, &columns[i])
		if in.err != nil {
			return 0, nil, fmt.Errorf("a malformed frame: column `%s`: %w", fields[i].Name, in.err)
		}
	}
	return rows, columns, nil
}

func (in *frameReader) fail(why string) {
	if in.err == nil {
		in.err = errors.New(why)
	}
}

// buffer is the one whose offset and size stand at `at`, cut to the bytes that are needed.
func (in *frameReader) buffer(at []byte, needed uint64) []byte {
	offset, size := uint64(le.Uint32(at)), uint64(le.Uint32(at[4:]))
	if needed == 0 {
		return nil
	}
	if size < needed || offset+size > uint64(len(in.frame)) {
		in.fail("a buffer lies outside of the frame or is too short")
		return nil
	}
	return in.frame[offset : offset+needed]
}

// array reads the next array without its children.
func (in *frameReader) array(t *Type, out *Column) {
	if len(in.table) < in.stride {
		in.fail("arrays are missing")
		return
	}
	at := in.table
	in.table = in.table[in.stride:]
	length := uint64(le.Uint32(at))
	*out = Column{Type: t, length: int(length), nulls: int(le.Uint32(at[4:]))}
	if out.nulls > 0 {
		out.validity = in.buffer(at[8:], (length+7)/8)
	}
	values := length * uint64(t.Kind.valueBytes())
	if t.Kind == Boolean {
		values = (length + 7) / 8
	}
	if t.Kind.hasOffsets() {
		out.offsets = in.offsets(at[16:], length)
		values = 0
		if t.Kind == String || t.Kind == Binary {
			values = uint64(out.offsets[length])
		}
	}
	out.values = in.buffer(at[24:], values)
	if in.err != nil {
		*out = Column{Type: t}
	}
}

// offsets are length + 1 numbers that ascend from 0 or more.
func (in *frameReader) offsets(at []byte, length uint64) []int32 {
	if length == 0 {
		return []int32{0} // An empty column may leave its offsets out.
	}
	bytes := in.buffer(at, 4*(length+1))
	if in.err != nil {
		return make([]int32, length+1)
	}
	offsets := unsafe.Slice((*int32)(unsafe.Pointer(&bytes[0])), length+1)
	previous := int32(0)
	for _, offset := range offsets {
		if offset < previous {
			in.fail("offsets descend")
		}
		previous = offset
	}
	return offsets
}

// column reads the next array with its children. Its parent asks for this many elements, or for at
// least as many.
func (in *frameReader) column(t *Type, length int, exactly bool, out *Column) {
	in.array(t, out)
	if in.err != nil {
		return
	}
	if out.length < length || exactly && out.length != length {
		in.fail(fmt.Sprintf("%d elements, its parent asks for %d", out.length, length))
		return
	}
	wanted, whole := out.length, true
	if t.Kind == Array || t.Kind == Map {
		wanted, whole = int(out.offsets[out.length]), t.Kind == Map
	}
	if t.Kind == Map {
		var entries Column
		in.array(&Type{Kind: StructKind}, &entries)
		if entries.length < wanted {
			in.fail("fewer entries than its offsets ask for")
		}
		wanted = entries.length
	}
	out.children = make([]Column, len(t.Fields))
	for i := range t.Fields {
		in.column(&t.Fields[i].Type, wanted, whole, &out.children[i])
	}
}

// writeFrame writes an output over a buffer; the columns stay where they are.
func writeFrame(frame []byte, o *Output, rows int) []byte {
	arrays := 0
	for i := range o.columns {
		arrays += arrayCount(o.columns[i].Type)
	}
	size := headerBytes + descriptorBytes*arrays
	if cap(frame) < size {
		frame = make([]byte, size)
	}
	frame = frame[:size]
	clear(frame)
	copy(frame, "GMF1")
	le.PutUint16(frame[4:], headerBytes)
	le.PutUint16(frame[6:], descriptorBytes)
	for i, number := range []int{size, rows, arrays} {
		le.PutUint32(frame[8+4*i:], uint32(number))
	}
	if !o.everyRowOnce() {
		le.PutUint32(frame[20:], flagRows)
		place(frame, 24, bytesOf(o.rows))
	}
	if len(o.failures) > 0 {
		le.PutUint32(frame[32:], uint32(len(o.failures)))
		place(frame, 36, bytesOf(o.failures))
		place(frame, 44, bytesOf(o.reasonEnd))
		place(frame, 52, o.reasons)
	}
	at := headerBytes
	for i := range o.columns {
		at = writeColumn(frame, at, &o.columns[i])
	}
	return frame
}

// place writes where a buffer lies: its distance from the frame, modulo 2^32.
func place(frame []byte, at int, buffer []byte) {
	if len(buffer) == 0 {
		return
	}
	distance := uintptr(unsafe.Pointer(&buffer[0])) - uintptr(unsafe.Pointer(&frame[0]))
	le.PutUint32(frame[at:], uint32(distance))
	le.PutUint32(frame[at+4:], uint32(len(buffer)))
}

func writeColumn(frame []byte, at int, c *Column) int {
	le.PutUint32(frame[at:], uint32(c.length))
	le.PutUint32(frame[at+4:], uint32(c.nulls))
	if c.nulls > 0 {
		place(frame, at+8, c.validity)
	}
	if c.length > 0 {
		place(frame, at+16, bytesOf(c.offsets))
	}
	place(frame, at+24, c.values)
	at += descriptorBytes
	if c.Type.Kind == Map {
		le.PutUint32(frame[at:], uint32(c.children[0].length))
		at += descriptorBytes
	}
	for i := range c.children {
		at = writeColumn(frame, at, &c.children[i])
	}
	return at
}

func arrayCount(t *Type) int {
	count := 1
	if t.Kind == Map {
		count = 2
	}
	for i := range t.Fields {
		count += arrayCount(&t.Fields[i].Type)
	}
	return count
}
