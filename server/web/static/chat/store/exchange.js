// Export and import of conversations, as one JSON file.
import { dataUrl } from "../../shared/data_url.js";
import * as database from "./database.js";
import { readHistory, write } from "./history.js";

const FORMAT = "llamabind-chats";
const ID = /^[0-9a-z-]{1,64}$/;
const ROLES = new Set(["user", "assistant", "tool"]);
const STATES = new Set(["done", "stopped", "cut", "failed"]);
const KINDS = new Set(["image", "audio", "text"]);

/** Download all conversations, or those with these ids. */
export async function exportAll(ids = null) {
  const all = await database.allConversations().catch(database.unsavedConversations);
  const parts = [`{"format":"${FORMAT}","version":1,"conversations":[`];
  let isFirst = true;
  for (const conversation of all) {
    if (ids && !ids.includes(conversation.id)) continue;
    const messages = await Promise.all((await database.readMessages(conversation.id)).map(exported));
    parts.push(isFirst ? "\n" : ",\n", JSON.stringify({ ...conversation, messages }));
    isFirst = false;
  }
  parts.push("\n]}\n");
  const url = URL.createObjectURL(new Blob(parts, { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `llamabind-chats-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function exported(message) {
  if (!message.attachments?.length) return message;
  const attachments = await Promise.all(
    message.attachments.map(async ({ kind, name, type, blob }) => ({ kind, name, type, data: await dataUrl(blob) })),
  );
  return { ...message, attachments };
}

/**
 * Add the conversations of a file; those that are here already stay as they are.
 * @param {File} file
 * @returns {Promise<{added: number, present: number}>}
 * @throws {Error} with a phrase that says what is wrong with the file
 */
export async function importFile(file) {
  let document;
  try {
    document = JSON.parse(await file.text());
  } catch {
    throw new Error("it is not JSON");
  }
  if (document?.format !== FORMAT || !Array.isArray(document.conversations)) throw new Error(`it is not a file of the format "${FORMAT}"`);
  if (document.version !== 1) throw new Error(`it has version ${document.version}, this page reads version 1`);
  const all = await database.allConversations().catch(database.unsavedConversations);
  const known = new Set(all.map((one) => one.id));
  const added = [];
  // All are read before the first is written: a file that is refused has added nothing.
  for (const one of document.conversations) {
    const record = conversationOf(one);
    if (known.has(record.id)) continue;
    known.add(record.id);
    added.push({ conversations: [record], messages: withNewIds(record, list(one.messages).map((message) => messageOf(message, record.id))) });
  }
  for (const records of added) await write(records);
  await readHistory();
  return { added: added.length, present: document.conversations.length - added.length };
}

/** The messages with ids of our own: those of the file could be ids of messages of other conversations. */
function withNewIds(conversation, messages) {
  const ids = new Map(messages.map((message) => [message.id, database.newId()]));
  conversation.leaf = ids.get(conversation.leaf) || [...ids.values()].pop() || "";
  return messages.map((message) => ({ ...message, id: ids.get(message.id), parent: ids.get(message.parent) || "" }));
}

// Only fields that are known, with the types they must have: a file may come from anyone.

function conversationOf(given) {
  if (!ID.test(text(given?.id))) throw new Error("a conversation has no valid id");
  return {
    id: given.id,
    title: text(given.title) || "Untitled",
    created: time(given.created),
    updated: time(given.updated),
    model: text(given.model),
    settings: settingsOf(given.settings),
    leaf: text(given.leaf),
  };
}

/** The fields of the settings panel hold texts. */
function settingsOf(given) {
  const known = Object.entries(object(given)).filter(([, value]) => ["string", "number"].includes(typeof value));
  return Object.fromEntries(known.map(([name, value]) => [name, String(value)]));
}

function messageOf(given, conversation) {
  if (!ID.test(text(given?.id)) || !ROLES.has(given.role)) throw new Error("a message has no valid id or role");
  const made = {
    id: given.id,
    conversation,
    parent: text(given.parent),
    role: given.role,
    content: text(given.content),
    created: time(given.created),
  };
  for (const name of ["reasoning", "model", "finish", "callId"]) if (given[name]) made[name] = text(given[name]);
  if (given.role === "assistant") made.state = STATES.has(given.state) ? given.state : "cut";
  if (given.problem) made.problem = { message: text(given.problem.message), code: text(given.problem.code), status: Number(given.problem.status) || 0 };
  if (given.stats) made.stats = Object.fromEntries(Object.entries(object(given.stats)).filter(([, value]) => Number.isFinite(value)));
  if (Array.isArray(given.warnings)) made.warnings = given.warnings.map(text);
  if (Array.isArray(given.calls)) made.calls = given.calls.map((call) => ({ id: text(call?.id), name: text(call?.name), arguments: text(call?.arguments) }));
  if (Array.isArray(given.attachments)) made.attachments = given.attachments.map(attachmentOf).filter(Boolean);
  return made;
}

function attachmentOf(given) {
  const [, type, base64] = /^data:([\w.+/-]*)[^,]*;base64,(.*)$/s.exec(text(given?.data)) || [];
  if (base64 === undefined || !KINDS.has(given.kind)) return null;
  try {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return { kind: given.kind, name: text(given.name), type, blob: new Blob([bytes], { type }) };
  } catch {
    return null;
  }
}

const list = (value) => (Array.isArray(value) ? value : []);
const text = (value) => (typeof value === "string" ? value : "");
const object = (value) => (value && typeof value === "object" ? value : {});
const time = (value) => (Number.isFinite(value) ? value : Date.now());
