// Conversations in the browser's IndexedDB. Two stores: short conversations for the list, and their messages.

const NAME = "llamabind";
const BATCH = 500;

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {number} created milliseconds since 1970
 * @property {number} updated
 * @property {string} model id of the model that answers
 * @property {Record<string, any>} settings see settings.js
 * @property {string} leaf id of the last message of the branch that is shown
 *
 * @typedef {object} Attachment
 * @property {"image"|"audio"|"text"} kind
 * @property {string} name
 * @property {string} type MIME type
 * @property {Blob} blob
 *
 * @typedef {object} Message
 * @property {string} id sorts by time
 * @property {string} conversation
 * @property {string} parent id of the message before it; "" for the first
 * @property {"user"|"assistant"|"tool"} role
 * @property {string} content
 * @property {string} [reasoning]
 * @property {{id: string, name: string, arguments: string}[]} [calls]
 * @property {string} [callId] of a tool's result
 * @property {Attachment[]} [attachments]
 * @property {string} [model]
 * @property {"done"|"working"|"stopped"|"cut"|"failed"} [state] of an answer; "cut": it broke off
 * @property {string} [finish] the server's finish_reason
 * @property {object} [problem] why it failed, see problems.js
 * @property {object} [stats] see stats.js
 * @property {string[]} [warnings] what the server left out of the request
 * @property {number} created
 */

/** @type {Promise<IDBDatabase>|null} */
let opened = null;

/** Records that the database refused, by id: if it is full or blocked, nothing is lost until the page is closed. */
const unsaved = { conversations: new Map(), messages: new Map() };

function open() {
  opened ||= new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("conversations", { keyPath: "id" });
      opening.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    opening.onsuccess = () => {
      // The browser closes it when the user deletes the page's data.
      opening.result.onclose = () => {
        opened = null;
      };
      resolve(opening.result);
    };
    opening.onerror = () => reject(opening.error);
  });
  opened.catch(() => {
    opened = null;
  });
  return opened;
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function transaction(mode, work) {
  const database = await open();
  const running = database.transaction(["conversations", "messages"], mode);
  const finished = new Promise((resolve, reject) => {
    running.oncomplete = resolve;
    running.onerror = running.onabort = () => reject(running.error);
  });
  const value = await work(running.objectStore("conversations"), running.objectStore("messages"));
  await finished;
  return value;
}

/** @returns {Promise<Conversation[]>} all, in no order */
export async function allConversations() {
  return merged(await transaction("readonly", (conversations) => result(conversations.getAll())), unsavedConversations());
}

/** The conversations that are in memory only. @returns {Conversation[]} */
export const unsavedConversations = () => [...unsaved.conversations.values()];

/** @returns {Promise<Conversation|undefined>} */
export async function readConversation(id) {
  return unsaved.conversations.get(id) || transaction("readonly", (conversations) => result(conversations.get(id)));
}

/** @returns {Promise<Message[]>} the messages of a conversation, the oldest first */
export async function readMessages(id) {
  const inMemory = [...unsaved.messages.values()].filter((one) => one.conversation === id);
  const reading = transaction("readonly", (_, messages) => result(messages.index("conversation").getAll(id)));
  const stored = await reading.catch((error) => {
    if (!unsaved.conversations.has(id)) throw error;
    return [];
  });
  return inMemory.length ? merged(stored, inMemory).sort((one, other) => (one.id < other.id ? -1 : 1)) : stored;
}

/** Write conversations and messages at once. What cannot be written is kept until the page is closed. */
export async function save({ conversations = [], messages = [] }) {
  try {
    await transaction("readwrite", (toConversations, toMessages) => {
      for (const one of conversations) toConversations.put(one);
      for (const one of messages) toMessages.put(one);
    });
    for (const one of conversations) unsaved.conversations.delete(one.id);
    for (const one of messages) unsaved.messages.delete(one.id);
  } catch (error) {
    for (const one of conversations) unsaved.conversations.set(one.id, one);
    for (const one of messages) unsaved.messages.set(one.id, one);
    throw error;
  }
}

/** Records by id, in which `newer` ones take the place of others. */
function merged(records, newer) {
  return [...new Map([...records, ...newer].map((one) => [one.id, one])).values()];
}

/** Delete a conversation; returns what was deleted, for an undo. */
export async function remove(id) {
  const messages = await readMessages(id);
  const conversation = await readConversation(id);
  const isUnsaved = unsaved.conversations.delete(id);
  for (const one of messages) unsaved.messages.delete(one.id);
  const deleting = transaction("readwrite", (fromConversations, fromMessages) => {
    fromConversations.delete(id);
    for (const one of messages) fromMessages.delete(one.id);
  });
  await deleting.catch((error) => {
    if (!isUnsaved) throw error;
  });
  return { conversations: conversation ? [conversation] : [], messages };
}

/**
 * The ids of the conversations that have `text` in a message, without regard to case.
 * @param {string} text
 * @param {AbortSignal} signal
 */
export async function findInMessages(text, signal) {
  const wanted = text.toLowerCase();
  const found = new Set();
  for (let after = ""; !signal.aborted; ) {
    const range = IDBKeyRange.lowerBound(after, true);
    // In batches, so that the page stays responsive.
    const batch = await transaction("readonly", (_, messages) => result(messages.getAll(range, BATCH)));
    for (const message of batch) {
      if (message.content.toLowerCase().includes(wanted)) found.add(message.conversation);
    }
    if (batch.length < BATCH) break;
    after = batch[batch.length - 1].id;
  }
  return found;
}

let count = 0;

/** A new id; ids sort by the time at which they were made. */
export function newId() {
  // Not crypto.randomUUID: browsers have it on https and localhost only.
  const random = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(16).padStart(2, "0"));
  count = (count + 1) % 46656;
  return `${Date.now().toString(36).padStart(9, "0")}-${count.toString(36).padStart(3, "0")}-${random.join("")}`;
}
