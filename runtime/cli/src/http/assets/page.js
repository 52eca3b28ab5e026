// What is live on the page, and what forms and buttons do: they call the JSON API that programs use too.
// No library: four things happen here, each in a few dozen lines.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const say = (text) => { one("#said").textContent = text; };

// --- Live values: {id: html} from the server, escaped there. --------------------------------------

/** Opens a stream that comes back by itself, and is closed while nobody looks. */
function stream(address, events, onState = () => {}) {
  let source = null;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(address);
    source.onopen = () => onState(true);
    source.onerror = () => {
      onState(false);
      // The browser tries again by itself, but not after an answer such as 503.
      if (source?.readyState === EventSource.CLOSED) { close(); setTimeout(open, 5000); }
    };
    for (const [name, handle] of Object.entries(events)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  };
  const close = () => { source?.close(); source = null; };
  const onVisibility = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", onVisibility);
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
  return () => { document.removeEventListener("visibilitychange", onVisibility); removeEventListener("pageshow", open); close(); };
}

function putValues(values) {
  for (const [id, html] of Object.entries(values)) {
    const place = document.getElementById(id);
    if (place) place.innerHTML = html;
  }
}

const live = document.body.dataset.live;
if (live) {
  const link = one("#link");
  stream(live, { values: putValues }, (up) => {
    link.textContent = up ? "live" : "not reached, trying again";
    link.classList.toggle("away", !up);
  });
}

// --- Rows as they come: the tail of a topic, what a stage gives. ----------------------------------

const ROWS_MAX = 300;
const tails = new Map();

function toggleTail(button) {
  const id = button.dataset.tail;
  const close = tails.get(id);
  const said = one(`#tail-said`);
  if (close) {
    close();
    tails.delete(id);
    button.setAttribute("aria-pressed", "false");
    if (said) said.textContent = "";
    return;
  }
  const body = document.getElementById(id);
  let skipped = 0;
  const addRow = ({ row, skipped: more }) => {
    const template = document.createElement("template");
    template.innerHTML = row;
    const element = template.content.firstElementChild;
    const place = element.dataset.place;
    // A record that was produced here is there already.
    if (place && one(`[data-place="${CSS.escape(place)}"]`, body)) return;
    element.classList.add("new");
    body.prepend(element);
    while (body.children.length > ROWS_MAX) body.lastElementChild.remove();
    skipped += more;
    if (said && skipped) said.textContent = `${skipped.toLocaleString("en")} not shown: too fast to read`;
  };
  tails.set(id, stream(button.dataset.stream, { row: addRow }));
  button.setAttribute("aria-pressed", "true");
  if (said) said.textContent = "waiting for what comes";
}

for (const button of all("[data-starts]")) toggleTail(button);

// --- Dialogs, and drafts that survive a reload. ----------------------------------------------------

function openDialog(id) {
  const dialog = document.getElementById(id);
  const answer = one(".answer", dialog);
  if (answer) answer.textContent = "";
  dialog.showModal();
  (one("input:not([type=checkbox]), textarea, select", dialog))?.focus();
}

const fields = (form) => all("input, select, textarea", form).filter((field) => field.name);

function saveDraft(form) {
  const values = fields(form).map((field) => [field.name, field.type === "checkbox" ? field.checked : field.value]);
  sessionStorage.setItem(`draft ${form.dataset.draft}`, JSON.stringify(values));
}

function loadDraft(form) {
  const draft = sessionStorage.getItem(`draft ${form.dataset.draft}`);
  for (const [name, value] of JSON.parse(draft ?? "[]")) {
    const field = form.elements[name];
    if (!field) continue;
    if (field.type === "checkbox") field.checked = value; else field.value = value;
  }
}

for (const form of all("form[data-draft]")) {
  loadDraft(form);
  form.addEventListener("input", () => saveDraft(form));
}

// --- Forms and buttons that change something. -------------------------------------------------------

/** `name: value` on each line. */
function headers(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf(":");
    if (at < 1) throw new Error(`Headers: “${line}” is not written as name: value.`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  }));
}

function bodyOf(form) {
  const body = {};
  for (const field of fields(form)) {
    const value = field.value;
    switch (field.dataset.as) {
      case "number": if (value !== "") body[field.name] = Number(value); break;
      case "optional": if (value !== "") body[field.name] = value; break;
      case "flag": body[field.name] = field.checked; break;
      case "headers": body[field.name] = headers(value); break;
      case "value": body[field.name] = form.elements.null?.checked ? null : value; break;
      case "confirmation": case "null": break;
      default: body[field.name] = value;
    }
  }
  return body;
}

async function call(method, address, body) {
  let response;
  try {
    response = await fetch(address, {
      method,
      headers: { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw Object.assign(new Error("The server is not reached: is it still running?"), { answer: {} });
  }
  const answer = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  if (!response.ok) throw Object.assign(new Error(answer.error), { answer });
  return answer;
}

/** Puts the cursor where the mistake is, and shows the line. */
function pointAt(form, { field, line, column }) {
  const element = form.elements[field];
  if (!element || !line) return "";
  const lines = element.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  const at = Math.min(start + Math.max(column - 1, 0), element.value.length);
  element.focus();
  element.setSelectionRange(at, Math.min(at + 1, element.value.length));
  const text = lines[line - 1] ?? "";
  return `\n${text.slice(0, column + 40)}\n${" ".repeat(Math.max(column - 1, 0))}^`;
}

function show(answer, text, good) {
  if (!answer) { say(text); return; }
  answer.textContent = text;
  answer.classList.toggle("good", good);
  answer.classList.toggle("place", text.includes("\n"));
}

/** What a receipt says in short. */
function reloaded({ generation, changes, pause_ms: pause }) {
  if (generation === undefined) return "Done.";
  if (!changes.length) return "Nothing has changed.";
  return `Generation ${generation} runs; the flow stood still for ${pause.toFixed(1)} ms.`;
}

const follow = {
  reload: () => location.reload(),
  async produced(answer, form) {
    const place = `partition ${answer.partition}, offset ${answer.offset}`;
    show(one(".answer", form), `Stored at ${place}.`, true);
    sessionStorage.removeItem(`draft ${form.dataset.draft}`);
    // The row, as the page itself would draw it.
    const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
    const row = one(`[data-place="${answer.partition}:${answer.offset}"]`, page);
    const body = document.getElementById("messages");
    if (row && body && !one(`[data-place="${answer.partition}:${answer.offset}"]`, body)) {
      row.classList.add("new");
      body.prepend(row);
      one("main > .nothing")?.remove();
    }
  },
  said: (answer, element) => {
    const text = answer.said ?? (answer.asked ? `${answer.asked} was asked for` : reloaded(answer));
    show(one(".answer", element.parentElement), text, true);
    say(text);
  },
};

async function submit(element, form) {
  const answer = one(".answer", form ?? element.parentElement) ?? one(".answer", element.closest("section") ?? document.body);
  const buttons = form ? all("button", form) : [element];
  try {
    const must = form?.dataset.mustEqual;
    if (must !== undefined && form.elements.name.value !== must) throw new Error(`This is not “${must}”.`);
    const body = element.dataset.body ? JSON.parse(element.dataset.body) : form ? bodyOf(form) : undefined;
    for (const button of buttons) button.disabled = true;
    if (answer) answer.textContent = "";
    const done = await call(element.dataset.method, element.dataset.api, must === undefined ? body : undefined);
    const goto = element.dataset.goto;
    if (goto) {
      if (form?.dataset.draft) sessionStorage.removeItem(`draft ${form.dataset.draft}`);
      location.assign(goto.replace("{name}", encodeURIComponent(done.name ?? "")));
      return;
    }
    await (follow[element.dataset.then] ?? follow.said)(done, form ?? element);
  } catch (error) {
    const place = form && error.answer ? pointAt(form, error.answer) : "";
    show(answer, error.message + place, false);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  submit(form, form);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.opens) openDialog(button.dataset.opens);
  else if ("closes" in button.dataset) button.closest("dialog").close();
  else if (button.dataset.tail) toggleTail(button);
  else if (button.dataset.api) submit(button, null);
});
