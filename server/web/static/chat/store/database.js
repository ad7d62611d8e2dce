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

function open() {
  opened ||= new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("conversations", { keyPath: "id" });
      opening.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
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
export const allConversations = () => transaction("readonly", (conversations) => result(conversations.getAll()));

/** @returns {Promise<Conversation|undefined>} */
export const readConversation = (id) => transaction("readonly", (conversations) => result(conversations.get(id)));

/** @returns {Promise<Message[]>} the messages of a conversation, the oldest first */
export function readMessages(id) {
  return transaction("readonly", (_, messages) => result(messages.index("conversation").getAll(id)));
}

/** Write conversations and messages at once. */
export function save({ conversations = [], messages = [] }) {
  return transaction("readwrite", (toConversations, toMessages) => {
    for (const one of conversations) toConversations.put(one);
    for (const one of messages) toMessages.put(one);
  });
}

/** Delete a conversation; returns what was deleted, for an undo. */
export async function remove(id) {
  const messages = await readMessages(id);
  const conversation = await readConversation(id);
  await transaction("readwrite", (fromConversations, fromMessages) => {
    fromConversations.delete(id);
    for (const one of messages) fromMessages.delete(one.id);
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
