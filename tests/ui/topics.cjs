// Topics and their messages.
"use strict";

const assert = require("node:assert/strict");
const { until } = require("./process.cjs");

const SCRIPT = `<script>window.broken = true</script><img src=x onerror="window.broken = true">`;

/** Waits until the list has so many. */
const rows = (page, count) => until(`${count} rows`, async () => (await page.locator("#messages tr").count()) === count);

async function createAndProduce({ page, gristmill, shoot }) {
  const address = await gristmill.start("broker");
  await page.goto(`${address}/topics`);
  await page.getByRole("button", { name: "Create topic" }).click();
  const dialog = page.getByRole("dialog", { name: "Create topic" });
  await dialog.getByLabel("Name").fill("orders");
  await dialog.getByLabel("Partitions").fill("3");
  await dialog.getByLabel("Records are kept for").selectOption("1 day");
  await shoot("topic-create");
  await dialog.getByRole("button", { name: "Create topic" }).click();
  await page.waitForURL("**/topics/orders");
  assert.equal(await page.getByRole("row", { name: /^retention\.ms/ }).getByRole("textbox").inputValue(), "86400000");

  await page.getByRole("link", { name: "Messages", exact: true }).click();
  await page.getByText("No message here.").waitFor();
  await page.getByRole("button", { name: "Produce new message" }).click();
  const produce = page.getByRole("dialog", { name: "Produce new message" });
  await produce.getByLabel("Key", { exact: true }).fill("12431");
  await produce.getByLabel("Value", { exact: true }).fill('{\n  "order_id": 1,\n  city: "Chicago"\n}');
  await produce.getByRole("button", { name: "Produce", exact: true }).click();
  await produce.getByText("line 3, column 3").waitFor();
  assert.equal(await produce.getByLabel("Value", { exact: true }).evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd)), "c");
  await shoot("message-mistake");

  // What was typed is not lost.
  await page.reload();
  await page.getByRole("button", { name: "Produce new message" }).click();
  assert.equal(await produce.getByLabel("Key", { exact: true }).inputValue(), "12431");
  await produce.getByLabel("Value", { exact: true }).fill('{ "order_id": 1, "city": "Chicago", "line_items": [{ "order_item_id": 7, "order_item_subtotal": 129.99 }] }');
  await produce.getByLabel("Headers", { exact: true }).fill("trace: 4711\nsource: shop-3");
  await produce.getByRole("button", { name: "Produce", exact: true }).click();
  const answer = produce.getByText(/Stored at partition \d, offset 0\./);
  await answer.waitFor();
  await shoot("message-produced");
  await produce.getByRole("button", { name: "Close" }).click();
  const row = page.locator("#messages tr").first();
  await row.getByText("12431").waitFor();
  await row.locator("summary").first().click();
  await row.locator(".name", { hasText: "line_items" }).waitFor();
  await row.getByText("shop-3").waitFor();
}

async function scriptIsText({ page, gristmill, shoot }) {
  const address = await gristmill.start("broker");
  await gristmill.topic("t");
  await gristmill.produce("t", { key: SCRIPT, value: SCRIPT, headers: { [SCRIPT]: SCRIPT } });
  await gristmill.produce("t", { value: JSON.stringify({ [SCRIPT]: [SCRIPT] }) });
  await page.goto(`${address}/clusters/local/topics/t/messages`);
  const tail = page.getByRole("button", { name: "Live tail" });
  await tail.click();
  for (const summary of await page.locator("#messages > tr > td > details > summary").all()) await summary.click();
  await rows(page, 2);
  // The tail, too: it begins where it is when it is there.
  await page.waitForFunction(async (script) => {
    await fetch("/api/v1/clusters/local/topics/t/messages", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ value: script }),
    });
    return document.querySelectorAll("#messages tr").length > 2;
  }, SCRIPT, { polling: 200 });
  await page.goto(`${address}/clusters/local/topics/t/messages/0/0`);
  await page.getByText("window.broken").first().waitFor();
  assert.equal(await page.evaluate(() => window.broken), undefined);
  assert.equal(await page.locator("main script, main img").count(), 0);
  await shoot("message-script");
}

async function manyMessages({ page, gristmill, shoot }) {
  const address = await gristmill.start("broker");
  await gristmill.topic("orders", 2);
  const cities = ["Chicago", "Caguas", "Brownsville", "Reno", "El Paso"];
  for (let number = 0; number < 130; number += 1) {
    const order = { order_id: number + 1, order_status: "COMPLETE", customer_id: 12000 + number % 37, city: cities[number % 5], line_items: [{ order_item_id: number, order_item_quantity: 1 + number % 4, order_item_subtotal: 59.99 }] };
    await gristmill.produce("orders", { key: String(order.customer_id), value: JSON.stringify(order), headers: { source: "shop-3" } });
  }
  await gristmill.produce("orders", { key: "large", value: "x".repeat(1_000_000), partition: 0 });
  await page.goto(`${address}/clusters/local/topics/orders/messages`);
  await rows(page, 50);
  await page.locator("#messages tr", { hasText: "large" }).locator("summary").click();
  await page.getByText("1.0 MB in all").waitFor();
  await page.locator("#messages tr", { hasText: "large" }).locator("summary").click();
  await page.locator("#messages tr").nth(2).locator("summary").first().click();
  await shoot("messages");
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByRole("link", { name: "Older" }).click();
  await rows(page, 31);
  await page.getByRole("link", { name: "Newer" }).click();
  await page.getByRole("link", { name: "Newest" }).or(page.locator("#messages")).first().waitFor();
  const search = page.getByRole("search");
  await search.getByLabel("Holds text").fill("chicago");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await rows(page, 26);
  await search.getByLabel("Holds text").fill("");
  await search.getByLabel("Partition").selectOption("1");
  await search.getByLabel("Offset").fill("3");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await rows(page, 4);
  assert.match(await page.locator("#messages tr").first().innerText(), /\s1\s+3\s/);
}

async function settingsAndDelete({ page, gristmill, shoot }) {
  const address = await gristmill.start("broker");
  await gristmill.topic("orders", 3);
  await page.goto(`${address}/clusters/local/topics/orders`);
  const row = page.getByRole("row", { name: /^retention\.ms/ });
  await row.getByRole("textbox").fill("soon");
  await row.getByRole("button", { name: "Save retention.ms" }).click();
  await row.getByRole("alert").getByText("keeps its settings").waitFor();
  await row.getByRole("textbox").fill("3600000");
  await row.getByRole("button", { name: "Save retention.ms" }).click();
  await page.getByRole("row", { name: /^retention\.ms 1 h/ }).waitFor();
  await shoot("topic");
  await page.getByRole("button", { name: "Delete topic" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete topic orders?" });
  await dialog.getByLabel("Type its name").fill("order");
  await dialog.getByRole("button", { name: "Delete topic" }).click();
  await dialog.getByText("This is not “orders”.").waitFor();
  await dialog.getByLabel("Type its name").fill("orders");
  await dialog.getByRole("button", { name: "Delete topic" }).click();
  await page.waitForURL("**/topics");
  await page.getByText("No topic yet.").waitFor();
}

module.exports = [
  { name: "a topic is created, a message produced, its place told", run: createAndProduce },
  { name: "a message with a script in it is text", run: scriptIsText },
  { name: "messages are paged, found and cut", run: manyMessages },
  { name: "settings are edited in place, a topic is deleted by its name", run: settingsAndDelete },
];
