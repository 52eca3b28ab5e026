#!/usr/bin/env node
// Builds a stage: bundles a JavaScript or TypeScript file with what it imports, and makes a
// component of it.
//
//   gristmill-stage stage.ts [-o stage.wasm]

import { componentize } from "@bytecodealliance/componentize-js";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, parse } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "rolldown";

/** Beside this package's sources in the repository, within the package elsewhere. */
const WIT = ["../../contract/stage.wit", "../wit/stage.wit"]
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find(existsSync);

/** A stage is given none of these: a module that asks for imports would be refused by the host. */
const WITHOUT = ["clocks", "random", "stdio", "http", "fetch-event"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { output: { type: "string", short: "o" } },
});
if (positionals.length !== 1) {
  console.error("usage: gristmill-stage stage.ts [-o stage.wasm]");
  process.exit(2);
}
const [input] = positionals;
const output = values.output ?? join(parse(input).dir, `${parse(input).name}.wasm`);

const folder = await mkdtemp(join(tmpdir(), "gristmill-stage-"));
try {
  const bundle = join(folder, "stage.js");
  await build({ input, output: { file: bundle, format: "esm" }, platform: "neutral", logLevel: "warn" });
  const { component } = await componentize({
    sourcePath: bundle,
    witPath: WIT,
    worldName: "stage",
    disableFeatures: WITHOUT,
  });
  await writeFile(output, component);
  console.log(`${output}: ${component.length} bytes`);
} finally {
  await rm(folder, { recursive: true });
}
