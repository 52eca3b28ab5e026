// The page, end to end: the real process, a real browser, somebody at the keyboard.
//
//   node main.cjs BINARY SCREENSHOTS [NAME …]
//
// NODE_PATH names the folder of playwright-core and axe-core. `cargo xtask test` sets all of that up.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");
const { Gristmill } = require("./process.cjs");

const [binary, screenshots, ...wanted] = process.argv.slice(2);
if (!binary || !screenshots) {
  console.error("usage: node main.cjs BINARY SCREENSHOTS [NAME …]");
  process.exit(2);
}

const SCENARIOS = [
  ...require("./topics.cjs"),
  ...require("./clusters.cjs"),
  ...require("./pipelines.cjs"),
  ...require("./everyone.cjs"),
];

async function main() {
  fs.mkdirSync(screenshots, { recursive: true });
  const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(fs.existsSync);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  let failed = 0;
  for (const scenario of SCENARIOS) {
    if (wanted.length && !wanted.some((name) => scenario.name.includes(name))) continue;
    const began = Date.now();
    const gristmill = new Gristmill(binary);
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...scenario.context });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const errors = [];
    page.on("pageerror", (error) => errors.push(`script: ${error.message}`));
    page.on("console", (message) => {
      // What the server refuses on purpose is told by the test itself.
      if (message.type() === "error" && !/Failed to load resource/.test(message.text())) errors.push(message.text());
    });
    const shoot = (name) => page.screenshot({ path: path.join(screenshots, `${name}.png`) });
    try {
      await scenario.run({ page, context, gristmill, shoot });
      if (errors.length) throw new Error(`the browser complains: ${errors.join("\n")}`);
      console.log(`ok    ${scenario.name} (${Date.now() - began} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${scenario.name}\n${error.stack}\n${gristmill.said()}`);
      await shoot(`failed-${scenario.name.replace(/\W+/g, "-")}`).catch(() => {});
    } finally {
      await context.close();
      await gristmill.stop();
    }
  }
  await browser.close();
  console.log(failed ? `${failed} failed` : "all passed");
  process.exitCode = failed ? 1 : 0;
}

main();
