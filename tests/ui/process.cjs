// The real process, in a folder of its own and on free ports.
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const DEADLINE_MS = 60_000;

class Gristmill {
  /** `deadline`: how long a start may take, in ms. */
  constructor(binary, deadline = DEADLINE_MS) {
    this.deadline = deadline;
    this.binary = binary;
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), "gristmill-ui-"));
    this.output = "";
  }

  /** Starts a command that serves the page, and waits until it is ready; resolves with the page's address. */
  async start(...command) {
    await this.serve(...command);
    await this.ready();
    return this.address;
  }

  /** As `start`, before the pipelines run. */
  async serve(...command) {
    const flags = ["--data-dir", path.join(this.folder, "data"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    // None of the user's own environments.
    const env = { ...process.env, XDG_CONFIG_HOME: path.join(this.folder, "config") };
    this.child = spawn(this.binary, [...command, ...flags], { stdio: ["ignore", "pipe", "pipe"], env });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.on("data", (data) => { this.output += data; });
    }
    const address = await until("the page", () => {
      this.mustLive();
      return this.output.match(/the page is at (http:\/\/[\d.:]+)/)?.[1];
    }, this.deadline);
    this.address = address;
  }

  ready() {
    const ready = async () => (await fetch(`${this.address}/health/ready`)).ok;
    return until("readiness", () => { this.mustLive(); return ready(); }, this.deadline);
  }

  /** Where Kafka clients reach the built-in broker. */
  broker() {
    return this.output.match(/listening.*?(127\.0\.0\.1:\d+)/)[1];
  }

  mustLive() {
    if (this.child.exitCode !== null) throw new Error(`it ended:\n${this.output}`);
  }

  file(name, content) {
    const file = path.join(this.folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
    return file;
  }

  /** Asks the API as a program does. */
  async api(method, address, body) {
    const response = await fetch(this.address + address, {
      method,
      headers: { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${address}: ${JSON.stringify(answer)}`);
    return answer;
  }

  topic(name, partitions = 1) {
    return this.api("POST", "/api/v1/clusters/local/topics", { name, partitions });
  }

  produce(topic, message) {
    return this.api("POST", `/api/v1/clusters/local/topics/${topic}/messages`, message);
  }

  said() {
    return this.output;
  }

  async stop() {
    if (this.child && this.child.exitCode === null) {
      this.child.kill("SIGINT");
      await until("the end", () => this.child.exitCode !== null || this.child.signalCode).catch(() => this.child.kill("SIGKILL"));
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Waits for something that is true. */
async function until(what, condition, deadline = DEADLINE_MS) {
  const began = Date.now();
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() - began > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

module.exports = { Gristmill, until };
