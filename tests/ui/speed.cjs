// How fast the page is, and what one that is left open costs: 1,000 topics, 100 pipelines, many messages in one topic.
//
//   node speed.cjs BINARY [SECONDS] [MESSAGES]
//
// SECONDS: how long the cost of pages that are left open is watched. Times are of one process on one machine: on a busy
// one they say little; CPU per view, and what many messages cost beside few, say more.
"use strict";

const fs = require("node:fs");
const { spawn } = require("node:child_process");
const { performance } = require("node:perf_hooks");
const { Gristmill, until } = require("./process.cjs");

const TOPICS = 1_000;
const PIPELINES = 100;
const VIEWS = 30;
/// Topics that are made at one time.
const MADE_AT_ONCE = 8;
/// Pages that are left open at one time: the cost of one alone is lost in what else the process does.
const PAGES_OPEN = 50;
const REFRESHES = 300;
const FEW_MESSAGES = 1_000;
/// For a hundred pipelines, each with its own clients.
const START_MS = 300_000;
/// Linux counts a process' CPU time in hundredths of a second.
const TICKS_PER_SECOND = 100;

const [binary, seconds = "20", messages = "10000000"] = process.argv.slice(2);

const median = (numbers) => numbers.sort((one, other) => one - other)[Math.floor(numbers.length / 2)];
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));
const ms = (number) => `${number.toFixed(1).padStart(7)} ms`;
const since = (began) => `${((performance.now() - began) / 1000).toFixed(1)} s`;

/** CPU seconds and megabytes of memory. */
function usage(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
  return {
    cpu: (Number(stat[11]) + Number(stat[12])) / TICKS_PER_SECOND,
    megabytes: Number(status.match(/VmRSS:\s+(\d+)/)[1]) / 1024,
  };
}

async function view(address) {
  const began = performance.now();
  const response = await fetch(address);
  const text = await response.text();
  if (!response.ok) throw new Error(`${address}: ${response.status} ${text}`);
  return { took: performance.now() - began, text };
}

/** Reads a stream until it is told to stop. */
function leaveOpen(address) {
  const stop = new AbortController();
  const open = { events: 0 };
  const reading = (async () => {
    const response = await fetch(address, { signal: stop.signal });
    const decoder = new TextDecoder();
    for await (const chunk of response.body) open.events += (decoder.decode(chunk).match(/^event:/gm) ?? []).length;
  })().catch(() => {});
  open.stop = () => { stop.abort(); return reading; };
  return open;
}

async function start(gristmill) {
  for (let number = 0; number < PIPELINES; number += 1) {
    gristmill.file(`pipelines/p${number}.toml`, `name = "p${number}"
[source]
topics = ["t${number}"]
[[sink]]
name = "out"
topic = "t${number + PIPELINES}"
`);
  }
  const began = performance.now();
  await gristmill.serve("run", `${gristmill.folder}/pipelines`, "--create-topics");
  console.log(`the page is there after ${since(began)}`);
  await gristmill.ready();
  console.log(`${PIPELINES} pipelines run after ${since(began)}, ${usage(gristmill.child.pid).cpu.toFixed(1)} s of CPU`);
}

async function makeTopics(gristmill) {
  const began = performance.now();
  const names = Array.from({ length: TOPICS }, (_, number) => `t${number}`);
  const present = new Set((await gristmill.api("GET", "/api/v1/clusters/local/topics")).map((topic) => topic.name));
  const missing = [...names.filter((name) => !present.has(name)), "few", "many"];
  const make = async () => { while (missing.length) await gristmill.topic(missing.pop()); };
  await Promise.all(Array.from({ length: MADE_AT_ONCE }, make));
  console.log(`${TOPICS} topics after ${since(began)}`);
}

/** So many short messages, by the program's own producer. */
async function fill(gristmill, topic, count) {
  const began = performance.now();
  const lines = Array.from({ length: 10_000 }, (_, number) => `{"order_id":${number}}`);
  const file = gristmill.file(`${topic}.jsonl`, lines.slice(0, count).join("\n") + "\n");
  const repeat = count > lines.length ? ["--loop"] : [];
  const producer = spawn(binary, ["topic", "produce", topic, "--file", file, "--bootstrap", gristmill.broker(), ...repeat], { stdio: "ignore" });
  const held = async () => {
    const { partitions } = await gristmill.api("GET", `/api/v1/clusters/local/topics/${topic}`);
    return partitions[0].end;
  };
  await until(`${count} messages`, async () => (await held()) >= count, START_MS);
  producer.kill("SIGINT");
  await until("the producer's end", () => producer.exitCode !== null || producer.signalCode);
  console.log(`${await held()} messages in \`${topic}\` after ${since(began)}`);
}

/** Views of pages, one after the other. */
async function look(gristmill, paths, views = VIEWS) {
  for (const path of paths) {
    const address = gristmill.address + path;
    const first = (await view(address)).took;
    const times = [];
    for (let count = 0; count < views; count += 1) times.push((await view(address)).took);
    console.log(`${path.padEnd(64)} first ${ms(first)}   median ${ms(median(times))}   slowest ${ms(Math.max(...times))}`);
  }
}

/** The same of a topic with few messages and of one with many. */
async function lookAtMessages(gristmill) {
  const at = (topic, query) => `/clusters/local/topics/${topic}/messages${query}`;
  const { partitions } = await gristmill.api("GET", "/api/v1/clusters/local/topics/many");
  const middle = Math.floor(partitions[0].end / 2);
  const { timestamp_ms: time } = await gristmill.api("GET", `/api/v1/clusters/local/topics/many/messages/0/${middle}`);
  await look(gristmill, [
    at("few", ""), at("many", ""),
    at("few", "?partition=0&offset=500"), at("many", `?partition=0&offset=${middle}`),
    at("few", "?time=2100-01-01T00:00:00Z"), at("many", `?time=${time}`),
    at("few", "?text=9999"), at("many", "?text=9999"),
  ], 10);
  const { text } = await view(gristmill.address + at("many", "?text=nowhere"));
  console.log(`a search in vain says: ${text.match(/role="status">(.*?)<\/p>/)[1]}`);
  await look(gristmill, [at("few", "?text=nowhere"), at("many", "?text=nowhere")], 3);
}

/** CPU share and memory with no page open, and with many, while one of the pipelines has something to do. */
async function leavePagesOpen(gristmill) {
  const { pid } = gristmill.child;
  const file = gristmill.file("t7.jsonl", '{"order_id":1}\n'.repeat(1_000));
  const producer = spawn(binary, ["topic", "produce", "t7", "--file", file, "--bootstrap", gristmill.broker(), "--loop", "--rate", "20"], { stdio: "ignore" });
  const watch = async () => {
    const before = usage(pid);
    await pause(Number(seconds) * 1000);
    const after = usage(pid);
    return { share: (after.cpu - before.cpu) / Number(seconds), megabytes: after.megabytes };
  };
  for (const path of ["/live/pipelines", "/live/pipelines/p7", "/live/overview"]) {
    const idle = await watch();
    const pages = Array.from({ length: PAGES_OPEN }, () => leaveOpen(gristmill.address + path));
    const watched = await watch();
    await Promise.all(pages.map((page) => page.stop()));
    const cost = (watched.share - idle.share) / PAGES_OPEN;
    console.log(`${path.padEnd(24)} none open ${percent(idle.share)} of a core, ${PAGES_OPEN} open ${percent(watched.share)}: one costs ${percent(cost)}; ${pages[0].events} events each`);
  }
  producer.kill("SIGINT");
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;

/** Memory before and after many views. */
async function refresh(gristmill) {
  const { pid } = gristmill.child;
  const paths = ["/", "/pipelines", "/pipelines/p7", "/clusters", "/clusters/local/topics", "/clusters/local/topics/t7", "/clusters/local/topics/few/messages", "/metrics"];
  const round = async (count) => { for (let number = 0; number < count; number += 1) await view(gristmill.address + paths[number % paths.length]); };
  await round(paths.length * 20);
  const before = usage(pid);
  await round(REFRESHES * paths.length);
  const after = usage(pid);
  const views = REFRESHES * paths.length;
  console.log(`${views} views: ${(1000 * (after.cpu - before.cpu) / views).toFixed(2)} ms of CPU each, memory ${before.megabytes.toFixed(1)} MB before, ${after.megabytes.toFixed(1)} MB after`);
}

async function main() {
  const gristmill = new Gristmill(binary, START_MS);
  try {
    await start(gristmill);
    await makeTopics(gristmill);
    await look(gristmill, ["/", "/pipelines", "/pipelines/p7", "/clusters", "/clusters/local/topics", "/clusters/local/topics?filter=t99", "/clusters/local/topics/t7", "/metrics"]);
    await fill(gristmill, "few", FEW_MESSAGES);
    await fill(gristmill, "many", Number(messages));
    await lookAtMessages(gristmill);
    await refresh(gristmill);
    await leavePagesOpen(gristmill);
  } finally {
    await gristmill.stop();
  }
}

main().catch((error) => { console.error(error); process.exitCode = 1; });
