"""Frames (frame.md in the contract): columns out of bytes, and bytes out of columns. Every number of
an input is checked before it is used."""

import struct
from decimal import Decimal

_HEADER = struct.Struct("<4sHHIIII II I II II II I")
_DESCRIPTOR = struct.Struct("<8I")
_FLAG_ROWS = 1
_ALIGNMENT = 64
# memoryview's formats of the values, and their bytes.
_FORMATS = {
    "integer": ("i", 4), "date": ("i", 4), "long": ("q", 8), "timestamp": ("q", 8),
    "float": ("f", 4), "double": ("d", 8),
}
_WITH_OFFSETS = ("string", "binary", "array", "map")
_BITS = [[bool(byte >> bit & 1) for bit in range(8)] for byte in range(256)]


class FrameError(Exception):
    pass


def _bits(data, length):
    flags = []
    for byte in data:
        flags += _BITS[byte]
    return flags[:length]


def _pack_bits(flags):
    number = 0
    for index, flag in enumerate(flags):
        if flag:
            number |= 1 << index
    return number.to_bytes((len(flags) + 7) // 8, "little")


class Column:
    """One column of a batch, valid until the function over the batch returns.

    `values` are the numbers of an integer, long, float, double, date or timestamp column, without a
    copy (a memoryview); those of nulls are any. `valid` is None if nothing is null."""

    __slots__ = ("type", "length", "null_count", "valid", "offsets", "values", "children", "buffers")

    def __len__(self):
        return self.length

    def is_null(self, index):
        return self.valid is not None and not self.valid[index]

    def to_list(self):
        """All values, None where they are null."""
        return self.slice(0, self.length)

    def slice(self, start, end):
        values = self._values(start, end)
        if self.valid is None:
            return values
        return [value if valid else None for value, valid in zip(values, self.valid[start:end])]

    def _values(self, start, end):
        kind = self.type.kind
        if kind == "string":
            return self._texts(start, end)
        if kind in _WITH_OFFSETS:
            return self._spans(start, end)
        if kind == "boolean":
            return _bits(self.values, self.length)[start:end]
        if kind == "decimal":
            return self._decimals(start, end)
        if kind == "struct":
            names = [field.name for field in self.type.fields]
            members = [child.slice(start, end) for child in self.children]
            return [dict(zip(names, values)) for values in zip(*members)]
        return self.values[start:end].tolist()

    def _texts(self, start, end):
        """Decoded all at once where every character is one byte."""
        offsets = self.offsets[start : end + 1].tolist()
        data = bytes(self.values[offsets[0] : offsets[-1]])
        base = offsets[0]
        if data.isascii():
            text = data.decode("ascii")
            return [text[a - base : b - base] for a, b in zip(offsets, offsets[1:])]
        # What lies behind a null need not be UTF-8.
        return [data[a - base : b - base].decode("utf-8", "replace") for a, b in zip(offsets, offsets[1:])]

    def _spans(self, start, end):
        offsets = self.offsets[start : end + 1].tolist()
        if self.type.kind == "binary":
            return [bytes(self.values[a:b]) for a, b in zip(offsets, offsets[1:])]
        base = offsets[0]
        lists = [child.slice(base, offsets[-1]) for child in self.children]
        spans = [slice(a - base, b - base) for a, b in zip(offsets, offsets[1:])]
        if self.type.kind == "array":
            return [lists[0][span] for span in spans]
        return [dict(zip(lists[0][span], lists[1][span])) for span in spans]

    def _decimals(self, start, end):
        exponent = -self.type.scale
        data = bytes(self.values[16 * start : 16 * end])
        decimals = []
        for at in range(0, len(data), 16):
            digits = int.from_bytes(data[at : at + 16], "little", signed=True)
            # Decimal(text) is exact, whatever the precision of the context.
            decimals.append(Decimal(f"{digits}E{exponent}"))
        return decimals


def read_frame(data, fields):
    """The number of rows, and the columns that `fields` describe."""
    return _Reader(data).batch(fields)


class _Reader:
    def __init__(self, data):
        if len(data) < _HEADER.size:
            raise FrameError("no frame")
        header = _HEADER.unpack_from(data)
        magic, self.header, self.stride, size, self.row_count, self.left = header[:6]
        fits = self.header + self.stride * self.left <= size <= len(data)
        if magic != b"GMF1" or not fits or self.header < _HEADER.size or self.stride < _DESCRIPTOR.size:
            raise FrameError("a malformed header")
        self.data = memoryview(data)[:size]
        self.next = self.header

    def batch(self, fields):
        return self.row_count, [self.column(field.type, self.row_count, True) for field in fields]

    def descriptor(self):
        if self.left == 0:
            raise FrameError("arrays are missing")
        self.left -= 1
        self.next += self.stride
        return _DESCRIPTOR.unpack_from(self.data, self.next - self.stride)

    def buffer(self, offset, size, needed):
        if needed == 0:
            return self.data[:0]
        if offset + size > len(self.data) or size < needed:
            raise FrameError("a buffer lies outside or is too short")
        return self.data[offset : offset + needed]

    def column(self, type, wanted, exactly):
        length, null_count, *places = self.descriptor()
        if length < wanted or exactly and length != wanted:
            raise FrameError(f"{length} elements, not {wanted}")
        column = Column()
        column.type, column.length, column.null_count = type, length, null_count
        bitmap = (length + 7) // 8
        validity = self.buffer(places[0], places[1], bitmap) if null_count else None
        column.valid = _bits(validity, length) if null_count else None
        end, offsets = length, None
        column.offsets = None
        if type.kind in _WITH_OFFSETS:
            offsets = self.buffer(places[2], places[3], 4 * (length + 1) if length else 0)
            column.offsets = offsets.cast("i") if length else memoryview(bytes(4)).cast("i")
            end = self.checked_end(column.offsets)
        values = self.buffer(places[4], places[5], self.value_bytes(type.kind, length, end))
        column.buffers = (validity, offsets, values)
        column.values = values.cast(_FORMATS[type.kind][0]) if type.kind in _FORMATS else values
        column.children = self.children(type, length, end)
        return column

    @staticmethod
    def value_bytes(kind, length, end):
        if kind in ("string", "binary"):
            return end
        if kind == "boolean":
            return (length + 7) // 8
        if kind == "decimal":
            return 16 * length
        return _FORMATS[kind][1] * length if kind in _FORMATS else 0

    @staticmethod
    def checked_end(offsets):
        ends = offsets.tolist()
        if ends[0] < 0 or ends != sorted(ends):
            raise FrameError("offsets descend")
        return ends[-1]

    def children(self, type, length, end):
        if type.kind == "map":
            entries = self.descriptor()[0]
            if entries < end:
                raise FrameError(f"{entries} entries, not {end}")
            end = entries
        wanted = length if type.kind == "struct" else end
        return [self.column(field.type, wanted, type.kind != "array") for field in type.fields]


def write_frame(row_count, rows, columns, failures):
    """An output. `columns` are of `Made` or of Column; `rows` is None if every row stands in its
    place; `failures` are pairs of row and reason."""
    arrays = []
    for column in columns:
        _flatten(column, arrays)
    head = _aligned(_HEADER.size + _DESCRIPTOR.size * len(arrays))
    body, size = [], head

    def place(buffer):
        nonlocal size
        if not buffer:
            return 0, 0
        at, used = size, len(buffer)
        body.append(buffer)
        body.append(bytes(-used % _ALIGNMENT))
        size += _aligned(used)
        return at, used

    lists = [place(_pack("I", rows) if rows else b"")]
    lists += [place(buffer) for buffer in _failure_lists(failures)]
    descriptors = []
    for length, null_count, buffers in arrays:
        places = [number for buffer in buffers for number in place(buffer)]
        descriptors.append(_DESCRIPTOR.pack(length, null_count, *places))
    flags = 0 if rows is None else _FLAG_ROWS
    header = _HEADER.pack(b"GMF1", _HEADER.size, _DESCRIPTOR.size, size, row_count, len(arrays), flags,
                          *lists[0], len(failures), *lists[1], *lists[2], *lists[3], 0)
    start = b"".join([header, *descriptors])
    return b"".join([start, bytes(head - len(start)), *body])


def _flatten(column, arrays):
    """Descriptors in preorder."""
    arrays.append((column.length, column.null_count, [buffer or b"" for buffer in column.buffers]))
    if column.type.kind == "map":
        arrays.append((column.children[0].length, 0, [b"", b"", b""]))
    for child in column.children:
        _flatten(child, arrays)


def _pack(format, numbers):
    return struct.pack(f"<{len(numbers)}{format}", *numbers)


def _aligned(size):
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _failure_lists(failures):
    if not failures:
        return b"", b"", b""
    reasons = [reason.encode("utf-8", "replace") for _, reason in failures]
    return _pack("I", [row for row, _ in failures]), _pack("i", _ends(map(len, reasons))), b"".join(reasons)


def _ends(lengths):
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    return ends


class Made:
    """A column out of a list of values, None for null. TypeError, ValueError, OverflowError: a value is
    not of the type."""

    __slots__ = ("type", "length", "null_count", "buffers", "children")

    def __init__(self, type, values):
        self.type, self.length, self.children = type, len(values), []
        self.null_count = values.count(None)
        valid = _pack_bits([value is not None for value in values]) if self.null_count else b""
        offsets, data = getattr(self, f"_{type.kind}", self._numbers)(values)
        self.buffers = (valid, offsets if values else b"", data)

    def _numbers(self, values):
        format, _ = _FORMATS[self.type.kind]
        try:
            return b"", _pack(format, [0 if value is None else value for value in values])
        except struct.error as error:
            raise ValueError(f"a value is not of type {self.type}: {error}") from None

    def _boolean(self, values):
        for value in values:
            if value not in (True, False, None):
                raise TypeError(f"{value!r} is not a boolean")
        return b"", _pack_bits(values)

    def _decimal(self, values):
        return b"", b"".join([_digits(value, self.type) for value in values])

    def _string(self, values):
        return self._joined([b"" if value is None else value.encode() for value in values])

    def _binary(self, values):
        return self._joined([b"" if value is None else bytes(memoryview(value)) for value in values])

    def _joined(self, pieces):
        return _pack("i", _ends(map(len, pieces))), b"".join(pieces)

    def _struct(self, values):
        for field in self.type.fields:
            members = [None if value is None else value.get(field.name) for value in values]
            self.children.append(Made(field.type, members))
        return b"", b""

    def _array(self, values):
        lists = [value or () for value in values]
        self.children = [Made(self.type.fields[0].type, [element for value in lists for element in value])]
        return _pack("i", _ends(map(len, lists))), b""

    def _map(self, values):
        maps = [value or {} for value in values]
        keys = [key for value in maps for key in value]
        if None in keys:
            raise ValueError("a key of a map is None")
        items = [item for value in maps for item in value.values()]
        self.children = [Made(self.type.fields[0].type, keys), Made(self.type.fields[1].type, items)]
        return _pack("i", _ends(map(len, maps))), b""


def _digits(value, type):
    """The 16 bytes of a decimal, which must fit exactly."""
    if value is None:
        return bytes(16)
    sign, digits, exponent = Decimal(value).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not a number")
    number = int("".join(map(str, digits)) or "0")
    shift = exponent + type.scale
    if shift >= 0:
        number *= 10**shift
    else:
        number, rest = divmod(number, 10**-shift)
        if rest:
            raise ValueError(f"{value} has more than {type.scale} digits behind the point")
    if number >= 10**type.precision:
        raise ValueError(f"{value} has more than {type.precision} digits")
    return (-number if sign else number).to_bytes(16, "little", signed=True)
