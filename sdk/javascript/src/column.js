// One column of a batch, as views on the batch's memory.

import { decimalText } from "./decimal.js";
import { typeText } from "./types.js";

const utf8 = new TextDecoder();

export class Column {
  /** `validity`, `offsets` and `values` are typed arrays; undefined where the type has none. */
  constructor(type, length, nullCount, validity, offsets, values, children) {
    this.type = type;
    this.length = length;
    this.nullCount = nullCount;
    this.validity = validity;
    this.offsets = offsets;
    this.values = values;
    this.children = children;
  }

  isNull(index) {
    return this.nullCount > 0 && (this.validity[index >> 3] >> (index & 7) & 1) === 0;
  }

  /** The bytes of a string or binary, without a copy. */
  bytes(index) {
    if (this.type.kind !== "string" && this.type.kind !== "binary") this.wrong("bytes");
    return this.values.subarray(this.offsets[index], this.offsets[index + 1]);
  }

  wrong(what) {
    throw new TypeError(`a column of ${typeText(this.type)} was read as ${what}`);
  }

  /** One value, null if it is null. */
  at(index) {
    return this.isNull(index) ? null : this.reader()(index);
  }

  /** All values, null where they are null. */
  toArray() {
    return this.slice(0, this.length);
  }

  slice(start, end) {
    const read = this.reader();
    const values = new Array(end - start);
    if (this.nullCount === 0) {
      for (let index = start; index < end; index++) values[index - start] = read(index);
    } else {
      for (let index = start; index < end; index++) {
        values[index - start] = this.isNull(index) ? null : read(index);
      }
    }
    return values;
  }

  /** A function from an index to the value there, which is not null. */
  reader() {
    const { values, offsets, children, type } = this;
    switch (type.kind) {
      case "boolean":
        return (index) => (values[index >> 3] >> (index & 7) & 1) === 1;
      case "string":
        return this.texts();
      case "binary":
        return (index) => values.slice(offsets[index], offsets[index + 1]);
      case "decimal":
        return (index) => decimalText(this.digits(index), type.scale);
      case "struct": {
        const members = children.map((child, member) => [type.fields[member].name, child]);
        return (index) => {
          const struct = {};
          for (const [name, child] of members) struct[name] = child.at(index);
          return struct;
        };
      }
      case "array":
        return (index) => children[0].slice(offsets[index], offsets[index + 1]);
      case "map":
        return (index) => {
          const [keys, items] = children.map((child) => child.slice(offsets[index], offsets[index + 1]));
          return new Map(keys.map((key, entry) => [key, items[entry]]));
        };
      default:
        return (index) => values[index];
    }
  }

  /** The digits of a decimal without the point, as a bigint. */
  digits(index) {
    if (this.type.kind !== "decimal") this.wrong("a decimal");
    return (BigInt.asIntN(64, this.values[2 * index + 1]) << 64n) | this.values[2 * index];
  }

  /** Texts are decoded all at once where every character is one byte. */
  texts() {
    if (this.length === 0) return () => "";
    const { offsets, values } = this;
    const start = offsets[0];
    const all = values.subarray(start, offsets[this.length]);
    const text = this.nullCount === 0 ? utf8.decode(all) : null;
    if (text !== null && text.length === all.length) {
      return (index) => text.slice(offsets[index] - start, offsets[index + 1] - start);
    }
    return (index) => utf8.decode(values.subarray(offsets[index], offsets[index + 1]));
  }
}
