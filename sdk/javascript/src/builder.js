// A column that grows.

import { unscaled } from "./decimal.js";
import { VALUE_BYTES, hasOffsets, typeText } from "./types.js";

const utf8 = new TextEncoder();
const ARRAYS = {
  integer: Int32Array, date: Int32Array, long: BigInt64Array, timestamp: BigInt64Array,
  float: Float32Array, double: Float64Array, decimal: BigInt64Array,
};

export class Builder {
  constructor(type) {
    this.type = type;
    this.push = PUSH[type.kind];
    this.children = type.fields.map((field) => new Builder(field.type));
    this.clear();
  }

  /** Elements so far. */
  get length() {
    return this.valid.length;
  }

  clear() {
    /** One boolean per element: false is null. */
    this.valid = [];
    this.nullCount = 0;
    /** Numbers, booleans, or pieces of bytes. */
    this.values = [];
    this.size = 0;
    this.offsets = hasOffsets(this.type.kind) ? [0] : undefined;
    for (const child of this.children) child.clear();
  }

  /** Appends a null; of a struct, its members become null, too. */
  pushNull() {
    const { kind } = this.type;
    if (kind === "boolean") this.values.push(false);
    else if (kind === "decimal") this.values.push(0n, 0n);
    else if (kind === "long" || kind === "timestamp") this.values.push(0n);
    else if (VALUE_BYTES[kind]) this.values.push(0);
    else if (kind === "struct") for (const child of this.children) child.pushNull();
    if (this.offsets) this.offsets.push(this.offsets[this.offsets.length - 1]);
    this.valid.push(false);
    this.nullCount++;
  }

  /** Back to `length` elements; children lose what an element left that was never closed. */
  truncate(length) {
    if (this.length < length) return;
    for (let index = length; index < this.valid.length; index++) {
      if (!this.valid[index]) this.nullCount--;
    }
    this.valid.length = length;
    let end = length;
    if (this.offsets) {
      this.offsets.length = length + 1;
      end = this.offsets[length];
    }
    if (this.type.kind === "string" || this.type.kind === "binary") {
      while (this.size > end) this.size -= this.values.pop().length;
    } else if (!this.offsets && this.type.kind !== "struct") {
      this.values.length = this.type.kind === "decimal" ? 2 * length : length;
    }
    for (const child of this.children) child.truncate(end);
  }

  wrong(value) {
    const what = typeof value === "string" ? JSON.stringify(value) : String(value);
    throw new TypeError(`${what} is not a ${typeText(this.type)}`);
  }

  pushBytes(bytes) {
    // An empty piece would end the search of `truncate` too early, or not at all.
    if (bytes.length > 0) this.values.push(bytes);
    this.size += bytes.length;
    this.offsets.push(this.size);
    this.valid.push(true);
  }

  closeList() {
    this.offsets.push(this.children[0].length);
    this.valid.push(true);
  }

  /** The buffers of the column: validity, offsets, values. */
  buffers() {
    const { kind } = this.type;
    const validity = this.nullCount > 0 ? bits(this.valid) : undefined;
    const offsets = this.offsets && this.length > 0 ? bytesOf(Int32Array.from(this.offsets)) : undefined;
    let values;
    if (kind === "boolean") values = bits(this.values);
    else if (ARRAYS[kind]) values = bytesOf(ARRAYS[kind].from(this.values));
    else if (kind === "string" || kind === "binary") values = joined(this.values, this.size);
    return [validity, offsets, values];
  }
}

/** How each type takes a value. */
const PUSH = Object.fromEntries(
  Object.entries({
    boolean(value) {
      if (typeof value !== "boolean") this.wrong(value);
      this.values.push(value);
    },
    integer(value) {
      if (typeof value === "bigint") value = Number(value);
      if ((value | 0) !== value) this.wrong(value);
      this.values.push(value);
    },
    long(value) {
      if (typeof value === "number" && Number.isSafeInteger(value)) value = BigInt(value);
      if (typeof value !== "bigint" || BigInt.asIntN(64, value) !== value) this.wrong(value);
      this.values.push(value);
    },
    double(value) {
      if (typeof value !== "number") this.wrong(value);
      this.values.push(value);
    },
    decimal(value) {
      const digits = unscaled(value, this.type.scale);
      if ((digits < 0n ? -digits : digits) >= 10n ** BigInt(this.type.precision)) this.wrong(value);
      this.values.push(BigInt.asIntN(64, digits), digits >> 64n);
    },
    struct(value) {
      if (typeof value !== "object") this.wrong(value);
      this.children.forEach((child, member) => child.push(value[this.type.fields[member].name]));
    },
  }).map(([kind, append]) => [
    kind,
    function push(value) {
      if (value === null || value === undefined) return this.pushNull();
      append.call(this, value);
      this.valid.push(true);
    },
  ]),
);
PUSH.date = PUSH.integer;
PUSH.timestamp = PUSH.long;
PUSH.float = PUSH.double;
PUSH.string = function push(value) {
  if (value === null || value === undefined) return this.pushNull();
  if (typeof value !== "string") this.wrong(value);
  this.pushBytes(utf8.encode(value));
};
PUSH.binary = function push(value) {
  if (value === null || value === undefined) return this.pushNull();
  if (!(value instanceof Uint8Array)) this.wrong(value);
  this.pushBytes(value);
};
PUSH.array = function push(value) {
  if (value === null || value === undefined) return this.pushNull();
  if (!Array.isArray(value)) this.wrong(value);
  for (const element of value) this.children[0].push(element);
  this.closeList();
};
PUSH.map = function push(value) {
  if (value === null || value === undefined) return this.pushNull();
  const entries = value instanceof Map ? value : Object.entries(value);
  for (const [key, item] of entries) {
    if (key === null || key === undefined) this.wrong(key);
    this.children[0].push(key);
    this.children[1].push(item);
  }
  this.closeList();
};

const bytesOf = (array) => new Uint8Array(array.buffer);

function bits(flags) {
  const bytes = new Uint8Array((flags.length + 7) >> 3);
  flags.forEach((flag, index) => {
    if (flag) bytes[index >> 3] |= 1 << (index & 7);
  });
  return bytes;
}

function joined(pieces, size) {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
