// Pipelines: watched, broken, mended.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { until } = require("./process.cjs");

const ORDERS = `name = "orders"

[source]
topics = ["orders"]

[[stage]]
name = "parse"
module = "parse-json"
on_failure = "dead-letter"
[stage.with]
schema = "order_id long, city string, line_items array<struct<order_item_id long, order_item_subtotal double>>"

[[stage]]
name = "items"
module = "flatten"
with = { explode = "line_items" }

[[stage]]
name = "chicago"
from = "parse"
module = "filter"
with = { column = "city", equals = "Chicago", ignore_case = true }

[[sink]]
name = "lake"
from = "items"
delta = "./lake/orders"
commit_every = "1s"

[[sink]]
name = "chicago-orders"
from = "chicago"
topic = "orders-chicago"
value = "value"

[dead_letter]
topic = "orders-dead-letters"
`;

const order = (number) => JSON.stringify({
  order_id: number,
  city: number % 3 ? "Reno" : "Chicago",
  line_items: [{ order_item_id: 2 * number, order_item_subtotal: 9.99 }, { order_item_id: 2 * number + 1, order_item_subtotal: 59.5 }],
});

async function startOrders(gristmill) {
  const file = gristmill.file("orders.toml", ORDERS);
  const address = await gristmill.start("run", file, "--create-topics");
  return { file, address };
}

async function watch({ page, gristmill, shoot }) {
  const { address } = await startOrders(gristmill);
  await page.goto(`${address}/pipelines/orders`);
  for (let number = 1; number <= 60; number += 1) await gristmill.produce("orders", { key: String(number), value: order(number) });
  await gristmill.produce("orders", { key: "bad", value: '{"order_id": "none"' });
  await page.locator("#records").getByText("61").waitFor();
  await page.locator("#committed-0").getByText("120").waitFor();
  await page.locator("#committed-1").getByText("20").waitFor();
  assert.equal(await page.locator("#failed-0").innerText(), "1");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator("#state").getByText("paused").waitFor();
  await gristmill.produce("orders", { key: "1", value: order(1) });
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator("#state").getByText("running").waitFor();
  await page.locator("#records").getByText("62").waitFor();
  await shoot("pipeline");

  await page.goto(`${address}/pipelines`);
  await shoot("pipelines");
  await page.goto(`${address}/`);
  await page.locator("#running").getByText("1 of 1").waitFor();
  await shoot("overview");
  await page.goto(`${address}/tables`);
  await page.getByRole("link", { name: /lake\/orders$/ }).click();
  await page.getByRole("columnheader", { name: "order_item_subtotal" }).waitFor();
  await page.getByRole("region", { name: "History" }).getByRole("row", { name: /pipeline orders, sink lake/ }).first().waitFor();
  await page.getByRole("region", { name: "Files" }).getByRole("row", { name: /\.parquet .* kB/ }).first().waitFor();
  await page.getByRole("region", { name: "Schema" }).getByRole("row", { name: /^order_item_subtotal double/i }).or(page.getByRole("row", { name: /^order_item_subtotal Float64/ })).first().waitFor();
  await shoot("table");
  await page.getByRole("region", { name: "History" }).scrollIntoViewIfNeeded();
  await shoot("table-history");
}

async function breakAndMend({ page, gristmill, shoot }) {
  const { file, address } = await startOrders(gristmill);
  const committed = async (rows) => page.locator("#committed-1").getByText(rows, { exact: true }).waitFor();
  await page.goto(`${address}/pipelines/orders`);
  await gristmill.produce("orders", { key: "3", value: order(3) });
  await committed("1");

  // A mistake in the file: the old generation runs on, and the page says why.
  fs.writeFileSync(file, ORDERS.replace('equals = "Chicago"', 'equal = "Reno"'));
  await page.getByText("The change was refused; what ran before runs on.").waitFor();
  await gristmill.produce("orders", { key: "6", value: order(6) });
  await committed("2");
  await shoot("pipeline-refused");
  fs.writeFileSync(file, ORDERS.replace('module = "filter"', 'modul = "filter"'));
  await page.getByText("modul").first().waitFor();
  await page.reload();
  await page.locator(".listing li.wrong").first().waitFor();
  await page.locator(".listing li.wrong").first().scrollIntoViewIfNeeded();
  await shoot("pipeline-mistake");

  // A module that is none.
  const broken = gristmill.file("broken.wasm", "no module");
  fs.writeFileSync(file, ORDERS.replace('module = "filter"', `module = ${JSON.stringify(broken)}`));
  await page.locator("#trouble").getByText("broken.wasm").first().waitFor();

  // Mended, with another city: a receipt.
  fs.writeFileSync(file, ORDERS.replace('equals = "Chicago"', 'equals = "Reno"'));
  await page.locator("#generation").getByText("2").waitFor();
  await page.getByText("The change was refused").waitFor({ state: "detached" });
  const receipt = page.locator("#receipts tbody tr").first();
  await receipt.getByText("orders 0:2").waitFor();
  await gristmill.produce("orders", { key: "1", value: order(1) });
  await committed("3");
  await receipt.scrollIntoViewIfNeeded();
  await shoot("pipeline-receipt");
}

async function rows({ page, gristmill, shoot }) {
  const { address } = await startOrders(gristmill);
  await page.goto(`${address}/pipelines/orders`);
  await page.getByRole("link", { name: "After items" }).click();
  await page.getByRole("button", { name: "Show rows", pressed: true }).waitFor();
  await until("a row", async () => {
    await gristmill.produce("orders", { key: "3", value: order(3) });
    return page.locator("#tapped tr").count();
  });
  await page.locator("#tapped tr").first().getByText("order_item_id").first().waitFor();
  await page.locator("#rows").scrollIntoViewIfNeeded();
  await shoot("pipeline-rows");
}

async function deadLetters({ page, gristmill, shoot }) {
  const { address } = await startOrders(gristmill);
  await gristmill.produce("orders", { key: "bad", value: '{"order_id": "two", "city": "Chicago", "line_items": []}' });
  await gristmill.produce("orders", { key: "worse", value: "no JSON" });
  await page.goto(`${address}/pipelines/orders`);
  await page.locator("#failed-0").getByText("2").waitFor();
  await until("the letters", async () => {
    await page.reload();
    return (await page.locator("#dead-letters tbody tr").count()) === 2;
  });
  assert.match(await page.locator("#dead-letters tbody tr").first().innerText(), /rejected/);
  await page.locator("#dead-letters").scrollIntoViewIfNeeded();
  await shoot("dead-letters");
  await page.getByRole("button", { name: "Replay all" }).click();
  await page.locator("#dead-letters").getByText("2 records were sent through again.").waitFor();
  await page.locator("#records").getByText("4").waitFor();
}

module.exports = [
  { name: "a pipeline is broken, the reason read, mended, the receipt seen", run: breakAndMend },
  { name: "rows are seen as they pass", run: rows },
  { name: "dead letters are read and replayed", run: deadLetters },
  { name: "a pipeline is watched, paused and resumed, its table looked at", run: watch },
];
module.exports.ORDERS = ORDERS;
module.exports.order = order;
module.exports.startOrders = startOrders;
