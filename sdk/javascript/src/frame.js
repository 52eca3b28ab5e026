// Frames (frame.md in the contract). Every number of an input is checked before it is used.

import { Builder } from "./builder.js";
import { Column } from "./column.js";
import { VALUE_BYTES, hasOffsets } from "./types.js";

const HEADER_BYTES = 64;
const DESCRIPTOR_BYTES = 32;
const FLAG_ROWS = 1;
/** The bytes `GMF1`, as a number. */
const MAGIC = 0x31464d47;

const VIEWS = {
  integer: Int32Array, date: Int32Array, long: BigInt64Array, timestamp: BigInt64Array,
  float: Float32Array, double: Float64Array, decimal: BigUint64Array,
};

/** Reads a batch whose columns are `fields`. */
export function readFrame(bytes, fields) {
  // Views on numbers need their place to be a multiple of their size.
  const frame = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  return new Reader(frame).batch(fields);
}

class Reader {
  constructor(frame) {
    if (frame.length < HEADER_BYTES) wrong("no frame");
    this.frame = frame;
    this.view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    this.header = this.view.getUint16(4, true);
    this.stride = this.view.getUint16(6, true);
    this.size = this.word(8);
    this.left = this.word(16);
    this.next = this.header;
    const fits = this.header + this.stride * this.left <= this.size && this.size <= frame.length;
    const known = this.header >= HEADER_BYTES && this.stride >= DESCRIPTOR_BYTES;
    if (this.word(0) !== MAGIC || !fits || !known) wrong("a malformed header");
  }

  batch(fields) {
    const rowCount = this.word(12);
    return { rowCount, columns: fields.map((field) => this.column(field.type, rowCount, true)) };
  }

  word(at) {
    return this.view.getUint32(at, true);
  }

  /** The buffer whose offset and size stand at `at`, cut to `count` elements of a view. */
  buffer(at, View, count) {
    if (count === 0) return new View(0);
    const [offset, size] = [this.word(at), this.word(at + 4)];
    const bytes = count * View.BYTES_PER_ELEMENT;
    if (offset + size > this.size || size < bytes || offset % View.BYTES_PER_ELEMENT !== 0) {
      wrong("a buffer lies outside or is too short");
    }
    return new View(this.frame.buffer, this.frame.byteOffset + offset, count);
  }

  descriptor() {
    if (this.left-- === 0) wrong("arrays are missing");
    const at = this.next;
    this.next += this.stride;
    return at;
  }

  /** The next array with its children; its parent asks for `wanted` elements, or for at least that. */
  column(type, wanted, exactly) {
    const at = this.descriptor();
    const [length, nullCount] = [this.word(at), this.word(at + 4)];
    if (exactly ? length !== wanted : length < wanted) wrong(`${length} elements, not ${wanted}`);
    const bitmap = (length + 7) >> 3;
    const validity = nullCount > 0 ? this.buffer(at + 8, Uint8Array, bitmap) : undefined;
    let offsets, values;
    if (hasOffsets(type.kind)) {
      offsets = length > 0 ? this.buffer(at + 16, Int32Array, length + 1) : new Int32Array(1);
      checkOffsets(offsets);
    }
    const end = offsets ? offsets[length] : length;
    if (type.kind === "string" || type.kind === "binary") values = this.buffer(at + 24, Uint8Array, end);
    else if (type.kind === "boolean") values = this.buffer(at + 24, Uint8Array, bitmap);
    else if (type.kind === "decimal") values = this.buffer(at + 24, BigUint64Array, 2 * length);
    else if (VIEWS[type.kind]) values = this.buffer(at + 24, VIEWS[type.kind], length);
    return new Column(type, length, nullCount, validity, offsets, values, this.children(type, length, end));
  }

  children(type, length, end) {
    let exactly = type.kind !== "array";
    if (type.kind === "map") {
      const entries = this.word(this.descriptor());
      if (entries < end) wrong(`${entries} entries, not ${end}`);
      end = entries;
    }
    const wanted = type.kind === "struct" ? length : end;
    return type.fields.map((field) => this.column(field.type, wanted, exactly));
  }
}

function wrong(why) {
  throw new RangeError(`a malformed frame: ${why}`);
}

function checkOffsets(offsets) {
  let previous = 0;
  for (let index = 0; index < offsets.length; index++) {
    if (offsets[index] < previous) wrong("offsets descend");
    previous = offsets[index];
  }
}

/** Writes an output: { rowCount, rows (undefined: every row in its place), columns, failures }. */
export function writeFrame({ rowCount, rows, columns, failures }) {
  const arrays = [];
  for (const column of columns) flatten(column, arrays);
  const lists = [rows && bytesOf(Uint32Array.from(rows)), ...failureLists(failures)];
  let size = aligned(HEADER_BYTES + arrays.length * DESCRIPTOR_BYTES);
  const place = (buffer) => {
    if (!buffer || buffer.length === 0) return [0, 0];
    const at = size;
    size += aligned(buffer.length);
    return [at, buffer.length];
  };
  const listPlaces = lists.map(place);
  const arrayPlaces = arrays.map(({ buffers }) => buffers.map(place));
  const frame = new Uint8Array(size);
  const words = new Uint32Array(frame.buffer);
  words.set([MAGIC, HEADER_BYTES | (DESCRIPTOR_BYTES << 16), size, rowCount, arrays.length, rows ? FLAG_ROWS : 0]);
  words.set(listPlaces[0], 6);
  words[8] = failures.length;
  words.set(listPlaces.slice(1).flat(), 9);
  arrays.forEach(({ length, nullCount }, index) => {
    words.set([length, nullCount, ...arrayPlaces[index].flat()], (HEADER_BYTES + index * DESCRIPTOR_BYTES) / 4);
  });
  const copy = (buffer, [at]) => at > 0 && frame.set(buffer, at);
  lists.forEach((buffer, index) => copy(buffer, listPlaces[index]));
  arrays.forEach(({ buffers }, index) => buffers.forEach((buffer, which) => copy(buffer, arrayPlaces[index][which])));
  return frame;
}

/** Descriptors in preorder, of builders and of columns that are given as they came. */
function flatten(column, arrays) {
  const buffers = column instanceof Builder ? column.buffers() : buffersOf(column);
  arrays.push({ length: column.length, nullCount: column.nullCount, buffers });
  if (column.type.kind === "map") {
    arrays.push({ length: column.children[0].length, nullCount: 0, buffers: [] });
  }
  for (const child of column.children) flatten(child, arrays);
}

function buffersOf({ type, length, validity, offsets, values }) {
  return [validity, length > 0 ? offsets : undefined, values].map((buffer) => buffer && bytesOf(buffer));
}

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

const aligned = (size) => (size + 63) & ~63;

function failureLists(failures) {
  if (failures.length === 0) return [undefined, undefined, undefined];
  const reasons = new Builder({ kind: "string", fields: [] });
  for (const [, reason] of failures) reasons.push(reason);
  const [, offsets, values] = reasons.buffers();
  return [bytesOf(Uint32Array.from(failures, ([row]) => row)), offsets, values];
}
