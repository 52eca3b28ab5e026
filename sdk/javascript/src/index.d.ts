/** A value of a column.
 *
 * | type | value |
 * |---|---|
 * | boolean | boolean |
 * | integer, float, double | number |
 * | long | bigint; a number is taken, too, if it is a whole one within ±2^53 |
 * | decimal | a text with all digits of its scale, as in "12.50"; a number or bigint is taken, too |
 * | string | string |
 * | binary | Uint8Array |
 * | date | number: days since 1970-01-01 |
 * | timestamp | bigint: microseconds since 1970-01-01 in UTC |
 * | struct | object |
 * | array | array |
 * | map | Map; an object is taken, too, if the keys are strings |
 */
export type Value =
  | null | boolean | number | bigint | string | Uint8Array
  | Value[] | Map<Value, Value> | { [member: string]: Value };

export type Row = { [column: string]: Value };

export interface Type {
  kind:
    | "boolean" | "integer" | "long" | "float" | "double" | "decimal" | "string" | "binary"
    | "date" | "timestamp" | "struct" | "array" | "map";
  precision?: number;
  scale?: number;
  /** The members of a struct, the element of an array, key and value of a map. */
  fields: Field[];
}

export interface Field {
  name: string;
  type: Type;
  nullable: boolean;
}

/** How a key of the configuration is declared: its type, and a default if it may be left out. */
export type Key = KeyType | { type: KeyType; default: unknown };
export type KeyType = "string" | "boolean" | "long" | "double" | "list" | "object";

/** What a row function answers: true keeps the row, false drops it; an object keeps it with the
 * columns that the stage makes; a list or a generator gives any number of rows. */
export type Answer<R> = boolean | null | undefined | void | R | Iterable<R>;

/** One column of a batch, valid until the function over the batch returns. */
export interface Column {
  readonly type: Type;
  readonly length: number;
  readonly nullCount: number;
  /** The numbers of an integer, long, float, double, date or timestamp column, without a copy. */
  readonly values: Int32Array | BigInt64Array | Float32Array | Float64Array | Uint8Array | BigUint64Array;
  readonly children: Column[];
  isNull(index: number): boolean;
  /** One value; null if it is null. */
  at(index: number): any;
  toArray(): any[];
  /** The bytes of a string or binary, without a copy. */
  bytes(index: number): Uint8Array;
}

/** A column that is made. */
export interface Builder {
  readonly length: number;
  push(value: Value | undefined): void;
}

export interface Output {
  /** The column that is made under this name; push one value per output row. */
  column(name: string): Builder;
  /** A made column that lies anywhere, such as one of the batch. */
  give(name: string, column: Column): void;
  /** One more output row of an input row; no call at all keeps every row in its place. */
  keepRow(row: number): void;
  /** No row is kept but those of `keepRow`. */
  keepNone(): void;
  /** Refuses an input row with a reason: in ascending order, each once, none of them kept. */
  fail(row: number, reason: string): void;
}

export interface Batch {
  rowCount: number;
  columns: { [name: string]: Column };
}

export interface Work<C, R extends Row = any> {
  /** The columns that are read: `"city string, order_id long"`, or names alone for any type. */
  reads?: string | Field[];
  /** The columns that are made: `"total double, label string not null"`. */
  makes?: string | Field[];
  /** Input columns that end here. */
  drops?: string[];
  /** The level of rows. An error that is thrown refuses the row, with its message as the reason. */
  row?: (row: R, config: C) => Answer<Row>;
  /** The level of columns. An error that is thrown refuses the batch. */
  batch?: (batch: Batch, output: Output, config: C) => void;
}

export interface Definition<C = any, R extends Row = any> extends Work<C, R> {
  name: string;
  version?: string;
  /** The keys of the stage's configuration; others are refused. */
  config?: { [key in keyof C]: Key };
  /** JSON Schema of the configuration, for editors, in place of the one made of `config`. */
  configSchema?: object;
  /** What depends on the configuration or on the input's columns. An error refuses them. */
  describe?: (config: C, input: Field[]) => Work<C, R>;
}

/** The two functions of the contract. */
export interface Exports {
  describe(request: string): string;
  process(batch: Uint8Array): Uint8Array;
}

/** Exports one stage: `export const { describe, process } = stage({ … })`. */
export function stage<C, R extends Row = any>(definition: Definition<C, R>): Exports;
/** Exports several; the key `stage` of the configuration says which one runs. */
export function stages(definitions: { [name: string]: Definition }): Exports;

export function dateToDays(date: Date): number;
export function daysToDate(days: number): Date;
export function dateToMicros(date: Date): bigint;
/** What is finer than a millisecond is cut off. */
export function microsToDate(micros: bigint): Date;

/** The digits of a decimal without the point: unscaled("12.50", 2) is 1250n. */
export function unscaled(value: string | number | bigint, scale: number): bigint;
/** decimalText(1250n, 2) is "12.50". */
export function decimalText(digits: bigint, scale: number): string;
