// A stage: its description, and the two functions of the contract.

import { configSchema, readConfig } from "./config.js";
import { readFrame, writeFrame } from "./frame.js";
import { Output } from "./output.js";
import { fieldFromJson, fieldToJson, parseFields, typeText } from "./types.js";

/** What goes to the author of the pipeline; `payload` is the contract's `err`. */
export class Refusal extends Error {
  constructor(message) {
    super(message);
    this.payload = message;
  }
}

/** Exports one stage: `export const { describe, process } = stage({ … })`. */
export function stage(definition) {
  return stages({ [definition.name]: definition }, () => definition);
}

/** Exports several stages in one module; the key `stage` of the configuration says which one runs. */
export function stages(definitions, pick = picked) {
  let running;
  const answering = (work) => {
    try {
      return work();
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal(String(error?.message ?? error));
    }
  };
  return {
    describe: (text) =>
      answering(() => {
        const request = JSON.parse(text);
        if (!/^1\./.test(request.contract)) {
          throw new Refusal(`the host speaks contract ${request.contract}, this module 1.0`);
        }
        const config = request.config ?? {};
        running = new Running(pick(definitions, config), config, request.input.map(fieldFromJson));
        return JSON.stringify(running.answer());
      }),
    process: (frame) =>
      answering(() => {
        if (!running) throw new Refusal("process was called before describe");
        return running.process(frame);
      }),
  };
}

function picked(definitions, config) {
  const name = config.stage;
  delete config.stage;
  if (Object.hasOwn(definitions, name ?? "")) return definitions[name];
  throw new Refusal(`config.stage: one of ${Object.keys(definitions).join(", ")} is expected`);
}

class Running {
  constructor(definition, config, input) {
    this.definition = definition;
    this.config = readConfig(definition.config ?? {}, config, (message) => new Refusal(message));
    const more = definition.describe?.(this.config, input) ?? {};
    const all = { ...definition, ...more };
    this.reads = parseFields(all.reads ?? "", { untyped: true }).map((field) => inputField(field, input));
    this.makes = parseFields(all.makes ?? "");
    this.drops = all.drops ?? [];
    this.output = new Output(this.makes);
    if (!all.row === !all.batch) throw new Refusal("a stage has a function `row` or a function `batch`");
    this.run = all.row ? (batch) => this.runRows(all.row, batch) : (batch) => this.runColumns(all.batch, batch);
  }

  answer() {
    const { name = "", version = "0.1.0", config = {} } = this.definition;
    return {
      contract: "1.0", encoding: "frame", name, version,
      reads: this.reads.map((field) => field.name),
      columns: this.makes.map(fieldToJson),
      drops: this.drops,
      config_schema: this.definition.configSchema ?? configSchema(config),
    };
  }

  process(frame) {
    const batch = readFrame(frame, this.reads);
    this.output.begin(batch.rowCount);
    this.run(batch);
    return writeFrame(this.output.end());
  }

  runColumns(work, { rowCount, columns }) {
    const named = Object.fromEntries(columns.map((column, index) => [this.reads[index].name, column]));
    work({ rowCount, columns: named }, this.output, this.config);
  }

  runRows(work, { rowCount, columns }) {
    const { output, config } = this;
    const names = this.reads.map((field) => field.name);
    const values = columns.map((column) => column.toArray());
    output.keepNone();
    for (let index = 0; index < rowCount; index++) {
      const row = {};
      for (let column = 0; column < names.length; column++) row[names[column]] = values[column][index];
      const mark = output.rows.length;
      try {
        this.give(index, work(row, config));
      } catch (error) {
        output.rows.length = mark;
        for (const builder of output.builders) builder.truncate(mark);
        output.fail(index, error?.message ?? error);
      }
    }
  }

  /** What a row function answers: keep, drop, one row, or several. */
  give(index, answer) {
    if (answer === false || answer === null || answer === undefined) return;
    if (answer === true) this.pushRow(index, {});
    else if (typeof answer[Symbol.iterator] === "function") for (const row of answer) this.pushRow(index, row);
    else this.pushRow(index, answer);
  }

  pushRow(index, row) {
    if (typeof row !== "object" || row === null) throw new TypeError(`a row is an object, not ${row}`);
    const { makes, output } = this;
    for (let column = 0; column < makes.length; column++) {
      const { name, nullable } = makes[column];
      const value = row[name] ?? null;
      if (value === null && !nullable) throw new TypeError(`\`${name}\` is null, which is \`not null\``);
      output.builders[column].push(value);
    }
    output.rows.push(index);
  }
}

/** The input column of a name, of the type that the stage asks for. */
function inputField({ name, type }, input) {
  const field = input.find((candidate) => candidate.name === name);
  if (!field) throw new Refusal(`the stage reads \`${name}\`, and there is no such column`);
  if (type && typeText(type) !== typeText(field.type)) {
    throw new Refusal(`the stage reads column \`${name}\` as ${typeText(type)}, and it is ${typeText(field.type)}`);
  }
  return field;
}
