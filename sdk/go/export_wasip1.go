package gristmill

import "unsafe"

// The exports of the module: the canonical lowering of stage.wit in the contract. One call at a
// time; all memory is used again.

const (
	// Alignment that the host asks for, and bytes that may be read behind an input.
	alignment = 64
	readAhead = 64
)

// area is where the host writes its input; start is its first aligned byte.
var (
	area  []byte
	start int
)

// returned is result<list<u8>, string>: 0 for ok and 1 for err, address, length. Go's own pointers
// have 64 bits.
var returned [3]uint32

// held keeps the answer from the collector until the next call.
var held []byte

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if align > alignment {
		panic("an alignment that the contract does not have")
	}
	needed := int(size) + readAhead + alignment
	if needed > len(area) {
		grown := make([]byte, needed+needed/4)
		offset := int(-uintptr(unsafe.Pointer(&grown[0])) % alignment)
		if old != nil {
			copy(grown[offset:], area[start:start+int(min(oldSize, size))])
		}
		area, start = grown, offset
	}
	return unsafe.Pointer(&area[start])
}

//go:wasmexport describe
func exportDescribe(_ unsafe.Pointer, size uint32) unsafe.Pointer {
	if this == nil {
		return give(nil, errNoStage)
	}
	return give(this.describe(area[start : start+int(size)]))
}

//go:wasmexport process
func exportProcess(_ unsafe.Pointer, size uint32) unsafe.Pointer {
	return give(this.process(area[start : start+int(size)]))
}

func give(bytes []byte, err error) unsafe.Pointer {
	var isErr uint32
	if err != nil {
		isErr, bytes = 1, []byte(err.Error())
	}
	held = bytes
	address := uintptr(unsafe.Pointer(unsafe.SliceData(bytes)))
	returned = [3]uint32{isErr, uint32(address), uint32(len(bytes))}
	return unsafe.Pointer(&returned)
}
