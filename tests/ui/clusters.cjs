// Environments and clusters: chosen, looked at, changed.
"use strict";

const assert = require("node:assert/strict");
const { Gristmill } = require("./process.cjs");

const profiles = (address) => `environment = "cloud"

[environments.cloud]
cluster = "prod"

[environments.cloud.clusters.prod]
bootstrap = "${address}"

[environments.cloud.clusters.staging]
bootstrap = "staging.example:9092"
api_key = "4X7Q2M"
properties = { "security.protocol" = "SASL_SSL", "sasl.mechanisms" = "PLAIN" }
api_keys = { "4X7Q2M" = "xyzzy-secret" }
`;

const PIPELINE = (address) => `name = "copy"
[source]
topics = ["orders"]
brokers = "${address}"
[[sink]]
name = "lake"
delta = "./lake/copy"
commit_every = "1s"
`;

async function chooseCluster({ page, gristmill, shoot }) {
  const other = new Gristmill(gristmill.binary);
  try {
    await other.start("broker");
    await other.topic("orders", 2);
    for (let number = 0; number < 5; number += 1) await other.produce("orders", { key: String(number), value: `{"n": ${number}}` });
    gristmill.file("config/gristmill/profiles.toml", profiles(other.broker()));
    const address = await gristmill.start("run", gristmill.file("copy.toml", PIPELINE(other.broker())));

    await page.goto(address);
    await page.getByRole("link", { name: "Clusters", exact: true }).click();
    await page.getByRole("heading", { name: "Environment cloud in use" }).waitFor();
    const staging = page.getByRole("row", { name: /^staging/ });
    await staging.getByText("4X7Q2M").waitFor();
    assert.ok(!(await page.content()).includes("xyzzy-secret"), "no secret is shown");
    await shoot("clusters");

    await page.getByRole("link", { name: "prod", exact: true }).click();
    await page.waitForURL("**/clusters/cloud:prod/topics");
    const row = page.getByRole("row", { name: /^orders/ });
    // The pipeline's group, and what it has read: told by the cluster itself.
    await row.getByRole("cell", { name: "5", exact: true }).waitFor();
    await shoot("topics-elsewhere");
    await page.getByRole("link", { name: "orders", exact: true }).click();
    const group = page.getByRole("region", { name: "Consumer groups" }).getByRole("row", { name: /^gristmill-copy Stable/ });
    // A group that has committed nothing yet is in no topic's list, and a list is as old as its page.
    for (const deadline = Date.now() + 30_000; !(await group.isVisible()); await page.reload()) {
      assert.ok(Date.now() < deadline, "the pipeline's group is shown");
    }
    const setting = page.getByRole("row", { name: /^retention\.ms/ });
    await setting.getByRole("textbox").fill("soon");
    await setting.getByRole("button", { name: "Save retention.ms" }).click();
    await setting.getByRole("alert").getByText("keeps its settings").waitFor();
    await setting.getByRole("textbox").fill("3600000");
    await setting.getByRole("button", { name: "Save retention.ms" }).click();
    await page.getByRole("row", { name: /^retention\.ms 1 h/ }).waitFor();
    await shoot("topic-elsewhere");
    await page.getByRole("link", { name: "Messages", exact: true }).click();
    await page.locator("#messages tr").nth(4).waitFor();
  } finally {
    await other.stop();
  }
}

module.exports = [
  { name: "a cluster of an environment is chosen, its topics, groups and messages looked at", run: chooseCluster },
];
module.exports.profiles = profiles;
