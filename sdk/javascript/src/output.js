// What a stage makes of a batch at the level of columns.

import { Builder } from "./builder.js";
import { Column } from "./column.js";

/** The longest reason of a failure, in characters; the rest is cut. */
const REASON_MAX = 1000;

export class Output {
  constructor(makes) {
    this.makes = makes;
    this.builders = makes.map((field) => new Builder(field.type));
    this.index = new Map(makes.map((field, index) => [field.name, index]));
  }

  begin(inputRowCount) {
    this.inputRowCount = inputRowCount;
    this.rows = undefined;
    this.failures = [];
    this.columns = this.builders.slice();
    for (const builder of this.builders) builder.clear();
  }

  /** The column that is made under this name; push one value per output row. */
  column(name) {
    return this.columns[this.place(name)];
  }

  /** A made column that lies anywhere, such as one of the batch. */
  give(name, column) {
    if (!(column instanceof Column)) throw new TypeError(`\`${name}\` is given no column`);
    this.columns[this.place(name)] = column;
  }

  place(name) {
    const index = this.index.get(name);
    if (index === undefined) throw new TypeError(`the stage makes no column \`${name}\``);
    return index;
  }

  /** One more output row of an input row; no call at all keeps every row in its place. */
  keepRow(row) {
    (this.rows ??= []).push(row);
  }

  /** No row is kept but those of `keepRow`. */
  keepNone() {
    this.rows ??= [];
  }

  /** Refuses an input row with a reason: in ascending order, each once, none of them kept. */
  fail(row, reason) {
    this.failures.push([row, String(reason).slice(0, REASON_MAX)]);
  }

  /** What `writeFrame` takes. Throws if a column is not complete. */
  end() {
    const rowCount = this.rows?.length ?? this.inputRowCount;
    this.columns.forEach(({ length, nullCount }, index) => {
      const { name, nullable } = this.makes[index];
      if (length !== rowCount) {
        throw new RangeError(`the stage made ${length} values of column \`${name}\` for ${rowCount} rows`);
      }
      if (nullCount > 0 && !nullable) {
        throw new RangeError(`the stage left column \`${name}\` null, which is \`not null\``);
      }
    });
    return { rowCount, rows: this.needed(), columns: this.columns, failures: this.failures };
  }

  /** Row numbers, unless every row stands in its place. */
  needed() {
    const { rows } = this;
    if (!rows || rows.length !== this.inputRowCount || this.failures.length > 0) return rows;
    return rows.every((row, index) => row === index) ? undefined : rows;
  }
}
