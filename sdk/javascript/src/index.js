// Write a Gristmill stage in JavaScript or TypeScript. See README.md, and index.d.ts for what each
// function takes.

export { stage, stages } from "./stage.js";
export { dateToDays, dateToMicros, daysToDate, microsToDate } from "./time.js";
export { decimalText, unscaled } from "./decimal.js";
