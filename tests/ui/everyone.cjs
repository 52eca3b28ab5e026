// The page for everyone: no serious fault that axe-core finds, light and dark, wide and narrow; with the keyboard alone.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { profiles } = require("./clusters.cjs");
const { order, startOrders } = require("./pipelines.cjs");

const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const LOOKS = [
  { colorScheme: "light", width: 1280 },
  { colorScheme: "dark", width: 1280 },
  { colorScheme: "light", width: 400 },
  { colorScheme: "dark", width: 400 },
];

async function faults(page) {
  // Into the page as the browser's own tools come there, since the page itself lets no foreign script in.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(", ")}`);
}

async function looks({ page, gristmill, shoot }) {
  gristmill.file("config/gristmill/profiles.toml", profiles("kafka.example:9092"));
  const { address } = await startOrders(gristmill);
  for (let number = 1; number <= 30; number += 1) await gristmill.produce("orders", { key: String(number), value: order(number) });
  await gristmill.produce("orders", { key: "bad", value: "{" });
  await page.goto(`${address}/pipelines/orders`);
  await page.locator("#committed-0").getByText("60").waitFor();
  const topic = `${address}/clusters/local/topics/orders`;
  const pages = {
    overview: `${address}/`,
    pipelines: `${address}/pipelines`,
    clusters: `${address}/clusters`,
    pipeline: `${address}/pipelines/orders`,
    topics: `${address}/clusters/local/topics`,
    topic,
    messages: `${topic}/messages`,
    message: `${topic}/messages/0/3`,
    tables: `${address}/tables`,
    table: `${address}/tables/orders/lake`,
    nothing: `${address}/pipelines/none`,
  };
  const found = [];
  for (const { colorScheme, width } of LOOKS) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 860 });
    for (const [name, url] of Object.entries(pages)) {
      await page.goto(url);
      if (name === "messages") await page.locator("#messages summary").first().click();
      for (const fault of await faults(page)) found.push(`${name}, ${colorScheme}, ${width} px: ${fault}`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (overflow > 0) found.push(`${name}, ${width} px: wider than the window by ${overflow} px`);
      await shoot(`${name}-${colorScheme}-${width}`);
    }
    await page.goto(pages.topics);
    await page.getByRole("button", { name: "Create topic" }).click();
    for (const fault of await faults(page)) found.push(`create topic, ${colorScheme}, ${width} px: ${fault}`);
    await page.goto(pages.messages);
    await page.getByRole("button", { name: "Produce new message" }).click();
    for (const fault of await faults(page)) found.push(`produce, ${colorScheme}, ${width} px: ${fault}`);
    await shoot(`produce-${colorScheme}-${width}`);
  }
  assert.deepEqual(found, []);
}

/** Presses Tab until the element that has the focus is named so. */
async function tabTo(page, name) {
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      return element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
    });
    if (focused.trim().startsWith(name)) return;
  }
  throw new Error(`Tab does not lead to “${name}”`);
}

async function keyboardOnly({ page, gristmill }) {
  const address = await gristmill.start("broker");
  await page.goto(address);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await tabTo(page, "Topics");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/topics");
  await tabTo(page, "Create topic");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Create topic" }).waitFor();
  await page.keyboard.type("typed");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/topics/typed");
  await tabTo(page, "Messages");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/messages");
  await tabTo(page, "Produce new message");
  await page.keyboard.press("Enter");
  await page.keyboard.type("key");
  await tabTo(page, "Value");
  await page.keyboard.type('{"by": "hand"}');
  await tabTo(page, "Produce");
  await page.keyboard.press("Enter");
  await page.getByText("Stored at partition 0, offset 0.").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  assert.match(await page.evaluate(() => document.activeElement.textContent), /Produce new message/);
}

module.exports = [
  { name: "no page keeps anybody out", run: looks },
  { name: "everything goes by the keyboard alone", run: keyboardOnly },
];
