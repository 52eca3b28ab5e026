// Types: in SQL's words (`array<struct<id long, name string>>`, with `not null`), and as the JSON of
// describe.md. A type is { kind, precision, scale, fields }, where fields are the members of a
// struct, the element of an array, key and value of a map.

const SCALARS = {
  boolean: "boolean", bool: "boolean", integer: "integer", int: "integer", long: "long",
  bigint: "long", float: "float", real: "float", double: "double", date: "date",
  timestamp: "timestamp", string: "string", binary: "binary",
};

/** Deepest nesting of a type. */
const DEPTH_MAX = 64;

/** Bytes of one value; undefined if there is no fixed number of them. */
export const VALUE_BYTES = {
  integer: 4, float: 4, date: 4, long: 8, double: 8, timestamp: 8, decimal: 16,
};

export const hasOffsets = (kind) =>
  kind === "string" || kind === "binary" || kind === "array" || kind === "map";

class Words {
  constructor(text) {
    this.text = text;
    this.tokens = text.match(/[^\s,:()<>]+|[,:()<>]/g) ?? [];
    this.at = 0;
  }

  take(token) {
    if (this.tokens[this.at] !== token) return false;
    this.at++;
    return true;
  }

  expect(token) {
    if (!this.take(token)) this.wrong();
  }

  wrong() {
    throw new TypeError(`\`${this.text}\` is not made of types such as long, decimal(10,2) or array<string>`);
  }

  /** `name type, name type`; a type may be left out if `untyped`. */
  fields(end, depth, untyped = false) {
    const fields = [];
    do {
      const name = this.tokens[this.at++];
      if (name === undefined || /^[,:()<>]$/.test(name)) this.wrong();
      this.take(":");
      const bare = untyped && (this.at >= this.tokens.length || this.tokens[this.at] === ",");
      fields.push(bare ? { name } : this.field(name, depth));
    } while (this.take(","));
    if (end) this.expect(end);
    else if (this.at < this.tokens.length) this.wrong();
    return fields;
  }

  field(name, depth) {
    const type = this.type(depth);
    const notNull = this.tokens[this.at] === "not" && this.tokens[this.at + 1] === "null";
    if (notNull) this.at += 2;
    return { name, type, nullable: !notNull };
  }

  type(depth) {
    if (depth > DEPTH_MAX) this.wrong();
    const word = this.tokens[this.at++];
    if (word === "decimal") return this.decimal();
    if (word === "struct") {
      this.expect("<");
      return { kind: "struct", fields: this.fields(">", depth + 1) };
    }
    if (word === "array") return this.nested("array", ["element"], depth + 1);
    if (word === "map") return this.nested("map", ["key", "value"], depth + 1);
    const kind = Object.hasOwn(SCALARS, word ?? "") ? SCALARS[word] : this.wrong();
    return { kind, fields: [] };
  }

  nested(kind, names, depth) {
    this.expect("<");
    const fields = names.map((name, index) => {
      if (index > 0) this.expect(",");
      return this.field(name, depth);
    });
    if (kind === "map") fields[0].nullable = false;
    this.expect(">");
    return { kind, fields };
  }

  decimal() {
    const type = { kind: "decimal", precision: 10, scale: 0, fields: [] };
    if (!this.take("(")) return type;
    type.precision = Number(this.tokens[this.at++]);
    if (this.take(",")) type.scale = Number(this.tokens[this.at++]);
    this.expect(")");
    const within = (number, min, max) => Number.isInteger(number) && number >= min && number <= max;
    if (!within(type.precision, 1, 38) || !within(type.scale, 0, type.precision)) this.wrong();
    return type;
  }
}

/** `"total double, label string not null"` as fields; fields are taken as they are. */
export function parseFields(fields, { untyped = false } = {}) {
  if (typeof fields !== "string") return [...fields];
  return fields.trim() === "" ? [] : new Words(fields).fields(null, 0, untyped);
}

/** A type in SQL's words. */
export function typeText(type) {
  const child = (field) => typeText(field.type);
  switch (type.kind) {
    case "decimal":
      return `decimal(${type.precision},${type.scale})`;
    case "array":
    case "map":
      return `${type.kind}<${type.fields.map(child).join(",")}>`;
    case "struct":
      return `struct<${type.fields.map((field) => `${field.name} ${child(field)}`).join(",")}>`;
    default:
      return type.kind;
  }
}

export function fieldFromJson(json) {
  return { name: json.name, type: typeFromJson(json.type), nullable: json.nullable ?? true };
}

function typeFromJson(json) {
  if (typeof json === "string") return new Words(json).type(0);
  const field = (name, type, nullable = true) => ({ name, type: typeFromJson(type), nullable });
  switch (json.type) {
    case "array":
      return { kind: "array", fields: [field("element", json.elementType, json.containsNull)] };
    case "map": {
      const value = field("value", json.valueType, json.valueContainsNull);
      return { kind: "map", fields: [field("key", json.keyType, false), value] };
    }
    case "struct":
      return { kind: "struct", fields: json.fields.map(fieldFromJson) };
    default:
      throw new TypeError(`there is no type \`${json.type}\``);
  }
}

export function fieldToJson({ name, type, nullable }) {
  return { name, type: typeToJson(type), nullable };
}

function typeToJson(type) {
  const [first, second] = type.fields;
  switch (type.kind) {
    case "array":
      return { type: "array", elementType: typeToJson(first.type), containsNull: first.nullable };
    case "map":
      return {
        type: "map", keyType: typeToJson(first.type), valueType: typeToJson(second.type),
        valueContainsNull: second.nullable,
      };
    case "struct":
      return { type: "struct", fields: type.fields.map(fieldToJson) };
    default:
      return typeText(type);
  }
}
