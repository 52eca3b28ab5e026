// Write a Gristmill stage in AssemblyScript: one function over one row. This file is all that a stage
// needs: the exports of the contract, `describe` (Setup), the rows of a batch (Row), the output
// (Output). Frames are drawn in sdk/contract/frame.md.
//
//   import { register } from "./gristmill";
//   export { cabi_realloc, describe, process } from "./gristmill";
//
//   let wanted = "";
//   let city = 0;
//
//   register("keep_city", "0.1.0", (setup) => {
//     wanted = setup.configText("city");
//     city = setup.read("city", "string");
//   }, (row, output) => {
//     if (!row.isNull(city) && row.text(city) == wanted) output.keep();
//   });

/** Asks for the configuration, and says which columns are read and made. */
export type Describe = (setup: Setup) => void;
/** Keeps (once or several times), refuses or, by doing neither, drops a row. */
export type RowFunction = (row: Row, output: Output) => void;

let stageName = "";
let stageVersion = "";
let describeStage: Describe = (_setup: Setup): void => {};
let runRow: RowFunction = (_row: Row, _output: Output): void => {};

/** The module's stage, once per module. */
export function register(name: string, version: string, describe: Describe, row: RowFunction): void {
  stageName = name;
  stageVersion = version;
  describeStage = describe;
  runRow = row;
}

// ---- JSON ------------------------------------------------------------------------------------

enum JsonKind { Null, Boolean, Number, Text, List, Object }

/** A value of the request of `describe`. */
class Json {
  kind: JsonKind = JsonKind.Null;
  /** The text; the digits of a number; `true` or `false`. */
  text: string = "";
  names: string[] = [];
  values: Json[] = [];

  member(name: string): Json | null {
    const index = this.names.indexOf(name);
    return index < 0 ? null : this.values[index];
  }

  textOf(name: string): string {
    const value = this.member(name);
    return value === null ? "" : value.text;
  }
}

/** Reads what the host writes; malformed JSON ends as a null. */
class JsonReader {
  private at: i32 = 0;
  constructor(private source: string) {}

  value(): Json {
    const json = new Json();
    const c = this.next();
    if (c == 0x7b) this.members(json);
    else if (c == 0x5b) this.items(json);
    else if (c == 0x22) {
      json.kind = JsonKind.Text;
      json.text = this.string();
    } else {
      const start = this.at - 1;
      while (this.at < this.source.length && this.isWord(this.source.charCodeAt(this.at))) this.at++;
      json.text = this.source.substring(start, this.at);
      if (json.text == "true" || json.text == "false") json.kind = JsonKind.Boolean;
      else if (json.text != "null") json.kind = JsonKind.Number;
    }
    return json;
  }

  private isWord(c: i32): bool {
    return (c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x7a) || c == 0x45 || c == 0x2b || c == 0x2d || c == 0x2e;
  }

  /** The next character that is no blank; 0 at the end. */
  private next(): i32 {
    while (this.at < this.source.length) {
      const c = this.source.charCodeAt(this.at++);
      if (c > 0x20) return c;
    }
    return 0;
  }

  private members(json: Json): void {
    json.kind = JsonKind.Object;
    let c = this.next();
    while (c == 0x22) {
      json.names.push(this.string());
      this.next();
      json.values.push(this.value());
      if (this.next() != 0x2c) return;
      c = this.next();
    }
  }

  private items(json: Json): void {
    json.kind = JsonKind.List;
    if (this.next() == 0x5d) return;
    this.at--;
    do {
      json.values.push(this.value());
    } while (this.next() == 0x2c);
  }

  /** From behind the quote to behind the next one. */
  private string(): string {
    let text = "";
    let start = this.at;
    while (this.at < this.source.length) {
      const c = this.source.charCodeAt(this.at);
      if (c == 0x22) break;
      if (c != 0x5c) {
        this.at++;
        continue;
      }
      text += this.source.substring(start, this.at);
      text += this.escape(this.source.charCodeAt(this.at + 1));
      start = this.at;
    }
    text += this.source.substring(start, this.at++);
    return text;
  }

  private escape(c: i32): string {
    this.at += 2;
    if (c == 0x75) {
      this.at += 4;
      return String.fromCharCode(<i32>parseInt(this.source.substring(this.at - 4, this.at), 16));
    }
    if (c == 0x6e) return "\n";
    if (c == 0x74) return "\t";
    if (c == 0x72) return "\r";
    if (c == 0x62) return "\b";
    if (c == 0x66) return "\f";
    return String.fromCharCode(c);
  }
}

function quoted(text: string): string {
  let out = '"';
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c == 0x22 || c == 0x5c) out += "\\" + text.charAt(i);
    else if (c < 0x20) out += "\\u00" + (c < 0x10 ? "0" : "") + c.toString(16);
    else out += text.charAt(i);
  }
  return out + '"';
}

// ---- types -----------------------------------------------------------------------------------

/** What a column holds, and what is nested in it. */
class Shape {
  children: Shape[] = [];
  /** `text`: a scalar by its name, or struct, array, map. */
  constructor(public text: string) {}
}

function shapeOf(type: Json | null): Shape {
  if (type === null) return new Shape("");
  if (type.kind == JsonKind.Text) return new Shape(type.text);
  const shape = new Shape(type.textOf("type"));
  if (shape.text == "array") shape.children.push(shapeOf(type.member("elementType")));
  if (shape.text == "map") {
    const entry = new Shape("struct");
    entry.children.push(shapeOf(type.member("keyType")));
    entry.children.push(shapeOf(type.member("valueType")));
    shape.children.push(entry);
  }
  const fields = type.member("fields");
  if (fields !== null) {
    for (let i = 0; i < fields.values.length; i++) shape.children.push(shapeOf(fields.values[i].member("type")));
  }
  return shape;
}

/** Names as people write them, beside those of the contract. */
function typeName(text: string): string {
  if (text == "int") return "integer";
  if (text == "bigint") return "long";
  return text;
}

/** Bytes of a value; 0 where there is no fixed number of them. */
function valueBytes(text: string): u32 {
  if (text == "integer" || text == "float" || text == "date") return 4;
  if (text == "long" || text == "double" || text == "timestamp") return 8;
  return text.startsWith("decimal") ? 16 : 0;
}

function isScalar(text: string): bool {
  return valueBytes(text) > 0 || text == "boolean" || text == "string" || text == "binary";
}

// ---- describing the stage --------------------------------------------------------------------

/** What the describing function asks and answers. The first mistake goes to the author of the pipeline. */
export class Setup {
  /** @internal */ mistake: string = "";
  /** @internal */ reads: Shape[] = [];
  /** @internal */ makes: Builder[] = [];
  private config: Json;
  private input: Json[];
  private keys: string[] = [];
  private keySchemas: string[] = [];
  private readNames: string[] = [];
  private dropNames: string[] = [];

  constructor(request: Json) {
    const config = request.member("config");
    const input = request.member("input");
    this.config = config === null ? new Json() : config;
    this.input = input === null ? [] : input.values;
    if (!request.textOf("contract").startsWith("1.")) this.refuse("the host speaks another contract than 1.0");
  }

  /** Refuses the configuration or the input: one line, lower case, no full stop. */
  refuse(why: string): void {
    if (this.mistake.length == 0) this.mistake = why;
  }

  private key(name: string, kind: JsonKind, schemaType: string, expected: string): Json | null {
    this.keys.push(name);
    this.keySchemas.push(quoted(name) + ':{"type":"' + schemaType + '"}');
    const value = this.config.member(name);
    if (value === null) this.refuse("config." + name + ": this key is required");
    else if (value.kind != kind) this.refuse("config." + name + ": expected " + expected);
    else return value;
    return null;
  }

  configText(name: string): string {
    const value = this.key(name, JsonKind.Text, "string", "a text");
    return value === null ? "" : value.text;
  }

  configLong(name: string): i64 {
    const value = this.key(name, JsonKind.Number, "integer", "a whole number");
    return value === null ? 0 : I64.parseInt(value.text);
  }

  configDouble(name: string): f64 {
    const value = this.key(name, JsonKind.Number, "number", "a number");
    return value === null ? 0 : parseFloat(value.text);
  }

  /** Reads an input column; `type` is that of a scalar, as in "long", or struct, array, map. Answers
   * its index among the columns that are read. */
  read(column: string, type: string): i32 {
    for (let i = 0; i < this.input.length; i++) {
      if (this.input[i].textOf("name") != column) continue;
      const shape = shapeOf(this.input[i].member("type"));
      if (shape.text != typeName(type)) {
        this.refuse("the stage reads column `" + column + "` as " + type + ", and it is " + shape.text);
      }
      this.readNames.push(column);
      return this.reads.push(shape) - 1;
    }
    this.refuse("the stage reads `" + column + "`, and there is no such column");
    return 0;
  }

  /** Makes a column of a scalar type, with `not null` behind it or without; one named as an input
   * column replaces it. Answers its index among those made. */
  make(column: string, type: string): i32 {
    const nullable = !type.endsWith(" not null");
    const name = typeName(nullable ? type : type.substring(0, type.length - 9));
    if (!isScalar(name)) this.refuse("the stage gives column `" + column + "` the type " + type + ", it may be a scalar");
    return this.makes.push(new Builder(column, name, nullable)) - 1;
  }

  /** Ends an input column at this stage. */
  drop(column: string): void {
    this.dropNames.push(column);
  }

  /** @internal The answer of `describe`; empty: see `mistake`. */
  answer(): string {
    for (let i = 0; i < this.config.names.length; i++) {
      if (!this.keys.includes(this.config.names[i])) this.refuse("config." + this.config.names[i] + ": unknown key");
    }
    if (this.mistake.length > 0) return "";
    const columns = this.makes.map<string>((made) => made.fieldJson());
    return '{"contract":"1.0","encoding":"frame","name":' + quoted(stageName) + ',"version":' + quoted(stageVersion) +
      ',"reads":[' + this.readNames.map<string>((name) => quoted(name)).join(",") +
      '],"drops":[' + this.dropNames.map<string>((name) => quoted(name)).join(",") +
      '],"columns":[' + columns.join(",") +
      '],"config_schema":{"type":"object","properties":{' + this.keySchemas.join(",") +
      '},"required":[' + this.keys.map<string>((key) => quoted(key)).join(",") + '],"additionalProperties":false}}';
  }
}

// ---- rows ------------------------------------------------------------------------------------

/** One array of the batch that is being processed. */
class Column {
  children: Column[] = [];
  hasNulls: bool;
  validity: usize;
  offsets: usize;
  values: usize;

  constructor(frame: usize, descriptor: usize) {
    this.hasNulls = load<u32>(descriptor, 4) > 0;
    this.validity = frame + load<u32>(descriptor, 8);
    this.offsets = frame + load<u32>(descriptor, 16);
    this.values = frame + load<u32>(descriptor, 24);
  }
}

/** Descriptors stand in preorder. */
class FrameReader {
  private next: u32 = 0;
  constructor(private frame: usize) {}

  column(shape: Shape): Column {
    const at = this.frame + load<u16>(this.frame, 4) + this.next++ * <u32>load<u16>(this.frame, 6);
    const column = new Column(this.frame, at);
    for (let i = 0; i < shape.children.length; i++) column.children.push(this.column(shape.children[i]));
    return column;
  }
}

/** One row of a batch, or one struct; columns are counted as they were read, members as they stand. */
export class Row {
  constructor(private columns: Column[], public index: u32) {}

  isNull(column: i32): bool {
    const from = this.columns[column];
    return from.hasNulls && ((load<u8>(from.validity + (this.index >> 3)) >> <u8>(this.index & 7)) & 1) == 0;
  }

  boolean(column: i32): bool {
    return ((load<u8>(this.columns[column].values + (this.index >> 3)) >> <u8>(this.index & 7)) & 1) == 1;
  }

  /** An int, or the days of a date. */
  integer(column: i32): i32 {
    return load<i32>(this.columns[column].values + 4 * this.index);
  }

  /** A long, or the microseconds of a timestamp. */
  long(column: i32): i64 {
    return load<i64>(this.columns[column].values + 8 * this.index);
  }

  float(column: i32): f32 {
    return load<f32>(this.columns[column].values + 4 * this.index);
  }

  double(column: i32): f64 {
    return load<f64>(this.columns[column].values + 8 * this.index);
  }

  text(column: i32): string {
    const from = this.columns[column];
    const start = load<i32>(from.offsets + 4 * this.index);
    return String.UTF8.decodeUnsafe(from.values + start, load<i32>(from.offsets + 4 * this.index, 4) - start);
  }

  /** The structs of an array, those that are null left out. */
  structs(column: i32): Row[] {
    const rows: Row[] = [];
    if (this.isNull(column)) return rows;
    const from = this.columns[column];
    const end = load<u32>(from.offsets + 4 * this.index, 4);
    for (let index = load<u32>(from.offsets + 4 * this.index); index < end; index++) {
      if (!new Row(from.children, index).isNull(0)) rows.push(new Row(from.children[0].children, index));
    }
    return rows;
  }
}

// ---- the output ------------------------------------------------------------------------------

/** Bytes that grow, and are used again from batch to batch. */
class Bytes {
  at: usize = 0;
  size: u32 = 0;
  private room: u32 = 0;

  /** Place for `more` bytes at the end; answers where they begin. */
  extend(more: u32): usize {
    if (this.size + more > this.room) {
      this.room = max(2 * this.room, this.size + more + 64);
      this.at = this.at == 0 ? heap.alloc(this.room) : heap.realloc(this.at, this.room);
    }
    const place = this.at + this.size;
    this.size += more;
    return place;
  }
}

/** A column that is made: a null for every row that is kept, until it gets a value. */
class Builder {
  private width: u32;
  private isText: bool;
  private length: u32 = 0;
  /** One byte per value, 0 for null. */
  private present: Bytes = new Bytes();
  private ends: Bytes = new Bytes();
  private values: Bytes = new Bytes();

  constructor(public name: string, public type: string, public nullable: bool) {
    this.isText = type == "string" || type == "binary";
    this.width = type == "boolean" ? 1 : valueBytes(type);
  }

  fieldJson(): string {
    return '{"name":' + quoted(this.name) + ',"type":"' + this.type + '","nullable":' + (this.nullable ? "true" : "false") + "}";
  }

  truncate(length: u32): void {
    this.length = length;
    this.present.size = length;
    this.ends.size = this.isText ? 4 * length : 0;
    this.values.size = this.isText ? this.end(length) : this.width * length;
  }

  private end(length: u32): u32 {
    return length == 0 ? 0 : load<u32>(this.ends.at + 4 * (length - 1));
  }

  pushNull(): void {
    this.length++;
    store<u8>(this.present.extend(1), 0);
    if (this.isText) store<u32>(this.ends.extend(4), this.values.size);
    else memory.fill(this.values.extend(this.width), 0, this.width);
  }

  /** Where the value of the last row goes. */
  place(type: string): usize {
    if (this.type != type) throw new Error("column `" + this.name + "` is " + this.type + ", not " + type);
    store<u8>(this.present.at + this.length - 1, 1);
    return this.values.at + this.width * (this.length - 1);
  }

  setText(value: string): void {
    this.place("string");
    const start = this.end(this.length - 1);
    const size = String.UTF8.byteLength(value);
    this.values.size = start;
    String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, this.values.extend(size));
    store<u32>(this.ends.at + 4 * (this.length - 1), start + size);
  }

  /** How many values are null. */
  private nullCount(): u32 {
    let nulls: u32 = 0;
    for (let i: u32 = 0; i < this.length; i++) nulls += load<u8>(this.present.at + i) == 0 ? 1 : 0;
    return nulls;
  }

  /** Bits out of bytes. */
  private pack(target: usize, bytes: usize): void {
    for (let i: u32 = 0; i < this.length; i++) {
      const at = target + (i >> 3);
      if (load<u8>(bytes + i) != 0) store<u8>(at, load<u8>(at) | (<u8>1 << <u8>(i & 7)));
    }
  }

  write(frame: Bytes, descriptor: u32): void {
    const nulls = this.nullCount();
    if (nulls > 0 && !this.nullable) throw new Error("column `" + this.name + "` is null, which is `not null`");
    store<u32>(frame.at + descriptor, this.length);
    store<u32>(frame.at + descriptor, nulls, 4);
    const bits = (this.length + 7) >> 3;
    if (nulls > 0) this.pack(append(frame, descriptor + 8, bits), this.present.at);
    if (this.isText) {
      const offsets = append(frame, descriptor + 16, 4 * (this.length + 1));
      memory.copy(offsets + 4, this.ends.at, 4 * this.length);
    }
    if (this.type == "boolean") this.pack(append(frame, descriptor + 24, bits), this.values.at);
    else memory.copy(append(frame, descriptor + 24, this.values.size), this.values.at, this.values.size);
  }
}

/** A zeroed buffer at the end of a frame, at a multiple of 8; its offset and size go to `entry`. Answers its address,
 * which holds until the next one is appended: the frame may move. */
function append(frame: Bytes, entry: u32, size: u32): usize {
  const padding = (8 - (frame.size & 7)) & 7;
  const start = frame.size + padding;
  memory.fill(frame.extend(padding + size), 0, padding + size);
  store<u32>(frame.at + entry, start);
  store<u32>(frame.at + entry, size, 4);
  return frame.at + start;
}

/** What becomes of the rows of a batch. */
export class Output {
  private row: u32 = 0;
  private mark: u32 = 0;
  private rows: Bytes = new Bytes();
  private failed: Bytes = new Bytes();
  private reasons: string[] = [];

  constructor(private makes: Builder[]) {}

  /** One more output row out of this input row. */
  keep(): void {
    store<u32>(this.rows.extend(4), this.row);
    for (let i = 0; i < this.makes.length; i++) this.makes[i].pushNull();
  }

  /** Refuses this input row with a reason; what was kept of it is taken back. */
  fail(why: string): void {
    this.truncate(this.mark);
    store<u32>(this.failed.extend(4), this.row);
    this.reasons.push(why);
  }

  // The value of a made column in the row that was kept last; a column that gets none is null there.
  setBoolean(column: i32, value: bool): void { store<u8>(this.makes[column].place("boolean"), value ? 1 : 0); }
  setInteger(column: i32, value: i32): void { store<i32>(this.makes[column].place("integer"), value); }
  setLong(column: i32, value: i64): void { store<i64>(this.makes[column].place("long"), value); }
  setFloat(column: i32, value: f32): void { store<f32>(this.makes[column].place("float"), value); }
  setDouble(column: i32, value: f64): void { store<f64>(this.makes[column].place("double"), value); }
  setDate(column: i32, days: i32): void { store<i32>(this.makes[column].place("date"), days); }
  setTimestamp(column: i32, micros: i64): void { store<i64>(this.makes[column].place("timestamp"), micros); }
  setText(column: i32, value: string): void { this.makes[column].setText(value); }

  private truncate(length: u32): void {
    this.rows.size = 4 * length;
    for (let i = 0; i < this.makes.length; i++) this.makes[i].truncate(length);
  }

  /** @internal */
  begin(): void {
    this.truncate(0);
    this.failed.size = 0;
    this.reasons = [];
  }

  /** @internal */
  beginRow(row: u32): void {
    this.row = row;
    this.mark = this.rows.size / 4;
  }

  /** @internal The frame, which lies in memory that the next batch uses again. */
  write(frame: Bytes): void {
    const columns: u32 = this.makes.length;
    frame.size = 0;
    memory.fill(frame.extend(HEADER_BYTES + 32 * columns), 0, HEADER_BYTES + 32 * columns);
    store<u32>(frame.at, MAGIC);
    store<u16>(frame.at, <u16>HEADER_BYTES, 4);
    store<u16>(frame.at, 32, 6);
    store<u32>(frame.at, this.rows.size / 4, 12);
    store<u32>(frame.at, columns, 16);
    store<u32>(frame.at, 1, 20);
    memory.copy(append(frame, 24, this.rows.size), this.rows.at, this.rows.size);
    this.writeFailures(frame);
    for (let i: u32 = 0; i < columns; i++) this.makes[i].write(frame, HEADER_BYTES + 32 * i);
    store<u32>(frame.at, frame.size, 8);
  }

  private writeFailures(frame: Bytes): void {
    const count: u32 = this.reasons.length;
    if (count == 0) return;
    store<u32>(frame.at, count, 32);
    memory.copy(append(frame, 36, this.failed.size), this.failed.at, this.failed.size);
    const texts = String.UTF8.encode(this.reasons.join(""));
    const offsets = append(frame, 44, 4 * (count + 1));
    let end: u32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      end += String.UTF8.byteLength(this.reasons[i]);
      store<u32>(offsets + 4 * (i + 1), end);
    }
    memory.copy(append(frame, 52, end), changetype<usize>(texts), end);
  }
}

// ---- the exports -----------------------------------------------------------------------------

/** Bytes that may be read behind an input, and the alignment that the host asks for. */
const READ_AHEAD: u32 = 64;
const ALIGNMENT: u32 = 64;
const HEADER_BYTES: u32 = 64;
const MAGIC: u32 = 0x31464d47;

/** Memory that the collector does not move or free: where the host writes its input. */
let area: usize = 0;
let areaSize: u32 = 0;
/** result<list<u8>, string>: 0 or 1, address, length. */
const returned: usize = memory.data(12, 4);
/** What was answered last. */
const answered: Bytes = new Bytes();
let reads: Shape[] = [];
let output: Output | null = null;

export function cabi_realloc(old: usize, oldSize: u32, align: u32, size: u32): usize {
  const needed = size + READ_AHEAD + ALIGNMENT;
  if (align > ALIGNMENT) unreachable();
  if (needed > areaSize) {
    const grown = heap.alloc(needed + needed / 4);
    if (old != 0) memory.copy(aligned(grown), old, min(oldSize, size));
    if (area != 0) heap.free(area);
    area = grown;
    areaSize = needed + needed / 4;
  }
  return aligned(area);
}

function aligned(at: usize): usize {
  return (at + ALIGNMENT - 1) & ~(<usize>ALIGNMENT - 1);
}

function give(isErr: u32): usize {
  store<u32>(returned, isErr);
  store<u32>(returned, <u32>answered.at, 4);
  store<u32>(returned, answered.size, 8);
  return returned;
}

function giveText(isErr: u32, text: string): usize {
  answered.size = 0;
  const size = String.UTF8.byteLength(text);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, answered.extend(size));
  return give(isErr);
}

export function describe(request: usize, size: u32): usize {
  const setup = new Setup(new JsonReader(String.UTF8.decodeUnsafe(request, size)).value());
  describeStage(setup);
  const answer = setup.answer();
  if (answer.length == 0) return giveText(1, setup.mistake);
  reads = setup.reads;
  output = new Output(setup.makes);
  return giveText(0, answer);
}

export function process(frame: usize, size: u32): usize {
  const out = output;
  if (out === null) return giveText(1, "process was called before describe");
  if (size < HEADER_BYTES || load<u32>(frame) != MAGIC) return giveText(1, "a malformed frame");
  const reader = new FrameReader(frame);
  const columns: Column[] = [];
  for (let i = 0; i < reads.length; i++) columns.push(reader.column(reads[i]));
  const rowCount = load<u32>(frame, 12);
  out.begin();
  for (let index: u32 = 0; index < rowCount; index++) {
    out.beginRow(index);
    runRow(new Row(columns, index), out);
  }
  out.write(answered);
  return give(0);
}
