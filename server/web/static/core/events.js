// Follows the server's events: the state of each model, and whether the server answers.
import { get, stream } from "./api.js";
import { effect, signal } from "./html.js";
import { key } from "./session.js";

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {string} status one of docs/models.md, "States"
 * @property {number} progress 0 to 1, while it loads
 * @property {string|null} reason of a failure, as a word
 * @property {string|null} detail of a failure, as a sentence
 * @property {number} [size] in bytes
 * @property {object} [metadata] as in GET /api/v2/models
 * @property {string[]} [capabilities]
 * @property {{reason: string, detail: string, log: string[]}} [failure]
 * @property {number} [n_ctx] tokens, while it is in memory; with `memory_bytes`, `ttl`, `pinned`
 */

/** "connecting", "online" or "offline". */
export const connection = signal("connecting");

/** All models by id; null until the server has sent its first list. @type {{value: Map<string, Model>|null}} */
export const models = signal(null);

/**
 * All models by id, also those that only events have named so far. They become visible with the list: without its
 * capabilities an embedding model would seem able to chat, and without its sizes the table's columns would move.
 */
let latest = new Map();
let isListed = false;
/** The lists requested so far, and the newest that has arrived. */
let requested = 0;
let newest = 0;

const listeners = new Set();
/** The number of events so far, and at which of them each model changed. */
let received = 0;
const changedAt = new Map();
const DELAYS_MS = [300, 1000, 2000, 4000];
const POLL_MS = 3000;
let failures = 0;

/** Call `listener` with each event of /api/v2/events; returns the function that ends it. */
export function onEvent(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Connect, and connect again when the connection breaks, until the page is closed. */
export function followEvents() {
  let ended = new AbortController();
  const restart = () => {
    ended.abort();
    ended = new AbortController();
    // A browser limits its connections to one server: a hidden tab leaves them to visible ones.
    if (!document.hidden) follow(ended.signal);
  };
  document.addEventListener("visibilitychange", restart);
  effect(() => {
    key.value;
    restart();
  });
}

async function follow(signal) {
  while (!signal.aborted) {
    let problem = null;
    try {
      for await (const event of stream("GET", "api/v2/events", { signal })) receive(event);
    } catch (error) {
      problem = error;
    }
    if (signal.aborted || problem?.status === 401) return;
    if (problem?.status === 403) {
      await poll(signal);
      return;
    }
    if (!problem?.status) connection.value = "offline";
    await pause(DELAYS_MS[Math.min(failures++, DELAYS_MS.length - 1)], signal);
  }
}

/** With an ordinary key beside admin keys the events are not allowed; the list of models is. */
async function poll(signal) {
  while (!signal.aborted) {
    try {
      await refreshModels();
    } catch (error) {
      if (error.status === 401) return;
      if (!error.status) connection.value = "offline";
    }
    await pause(POLL_MS, signal);
  }
}

/** Read the list of models again: sizes and metadata, which events do not have. */
export async function refreshModels(signal) {
  const began = received;
  const number = ++requested;
  const list = await get("api/v2/models", { signal });
  isOnline();
  // A list that was requested later has arrived earlier.
  if (number < newest) return;
  newest = number;
  isListed = true;
  const known = latest;
  latest = new Map(
    list.available_models.map((model) => {
      const before = known.get(model.id);
      const { reason = null, detail = null } = model.failure || {};
      const progress = before?.status === model.status ? before.progress : 0;
      const found = { progress, ...model, ...list.loaded_models[model.id], reason, detail };
      // An event that arrived meanwhile is newer than the list.
      return [model.id, before && changedAt.get(model.id) > began ? { ...found, ...stateOf(before) } : found];
    }),
  );
  publish();
}

function publish() {
  if (isListed) models.value = new Map([...latest].filter(([, model]) => model.capabilities));
}

function stateOf({ status, progress, reason, detail }) {
  return { status, progress, reason, detail };
}

function receive(event) {
  isOnline();
  received += 1;
  if (event.type === "snapshot") {
    const known = latest;
    latest = new Map(event.models.map((model) => [model.model, { ...known.get(model.model), ...model, id: model.model }]));
    publish();
    readList();
  } else if (event.type === "state") {
    change(event.model, { status: event.status, reason: event.reason, detail: event.detail, progress: 0 });
    // The list has fields that the event lacks: memory and context of a loaded model, the log of a failed one.
    if (event.status === "loaded" || event.status === "failed") readList();
  } else if (event.type === "progress") {
    change(event.model, { progress: event.progress });
  } else if (event.type === "models_changed" || event.type === "lagged") {
    readList();
  }
  for (const listener of listeners) listener(event);
}

function change(id, fields) {
  changedAt.set(id, received);
  if (!latest.get(id)?.capabilities) readList();
  latest.set(id, { progress: 0, reason: null, detail: null, ...latest.get(id), id, ...fields });
  publish();
}

function isOnline() {
  failures = 0;
  connection.value = "online";
}

function readList() {
  // A lost connection shows in its state, and a missing key leads to the form for keys; both end with a new snapshot.
  refreshModels().catch((error) => {
    if (!isListed && error.status && error.status !== 401) setTimeout(readList, POLL_MS);
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
