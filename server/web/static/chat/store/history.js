// The list of conversations: kept in memory, written to the database.
import { signal } from "../../core/html.js";
import * as database from "./database.js";

const TITLE_LENGTH = 60;

/** All conversations, the latest first; null until they are read. @type {{value: database.Conversation[]|null}} */
export const conversations = signal(null);

/** Why chats are not kept, as a sentence; "" if they are. */
export const storageProblem = signal("");

/** The chat that another tab of this browser has changed last. @type {{value: {id: string}|null}} */
export const changedElsewhere = signal(null);

// Other tabs of this browser show the same list.
const channel = new BroadcastChannel("llamabind.chats");
channel.onmessage = ({ data }) => {
  readHistory();
  changedElsewhere.value = { id: data };
};

/** How often this page has changed conversations, and at which of these changes each one. */
let changes = 0;
const changedAt = new Map();

function noteChange(id) {
  changes += 1;
  changedAt.set(id, changes);
}

export async function readHistory() {
  const began = changes;
  try {
    const read = await database.allConversations();
    // What was added, changed or deleted here meanwhile is newer.
    const isNewer = (one) => changedAt.get(one.id) > began;
    conversations.value = sorted([...read.filter((one) => !isNewer(one)), ...(conversations.peek() || []).filter(isNewer)]);
  } catch (error) {
    const unsaved = database.unsavedConversations();
    const ids = new Set(unsaved.map((one) => one.id));
    conversations.value = sorted([...(conversations.peek() || []).filter((one) => !ids.has(one.id)), ...unsaved]);
    cannotStore(error);
  }
}

function sorted(list) {
  return list.sort((one, other) => other.updated - one.updated);
}

/** Deleted conversations, of which an answer may still be on its way. */
const deleted = new Set();

/** Write a conversation and messages; the list follows. A failure is shown, not thrown. */
export async function keep(conversation, messages = []) {
  if (deleted.has(conversation.id)) return;
  const others = (conversations.peek() || []).filter((one) => one.id !== conversation.id);
  noteChange(conversation.id);
  conversations.value = sorted([conversation, ...others]);
  await write({ conversations: [conversation], messages });
  channel.postMessage(conversation.id);
}

/** Write a message of a conversation that is in the list. */
export async function keepMessage(message) {
  if (!deleted.has(message.conversation)) await write({ messages: [message] });
}

/** Write records. A failure is shown, not thrown. */
export async function write(records) {
  try {
    await database.save(records);
    storageProblem.value = "";
  } catch (error) {
    cannotStore(error);
  }
}

function cannotStore(error) {
  storageProblem.value =
    error?.name === "QuotaExceededError"
      ? "The browser's storage for this page is full: new messages are lost when you close the page. Export chats and delete old ones."
      : "This browser does not keep chats of this page (a private window?): they are lost when you close it. Export them before.";
}

/** The title that the list has: the user may have renamed the chat there, or in another tab. */
export function titleInList(conversation) {
  return (conversations.peek() || []).find((one) => one.id === conversation.id)?.title ?? conversation.title;
}

export function rename(conversation, title) {
  return keep({ ...conversation, title: title.trim() || "Untitled" });
}

/** Delete a conversation; returns the function that brings it back. */
export async function removeConversation(id) {
  deleted.add(id);
  noteChange(id);
  conversations.value = (conversations.peek() || []).filter((one) => one.id !== id);
  let removed = {};
  try {
    removed = await database.remove(id);
  } catch (error) {
    cannotStore(error);
  }
  channel.postMessage(id);
  return async () => {
    deleted.delete(id);
    await write(removed);
    await readHistory();
    channel.postMessage(id);
  };
}

/** A title from the first words of a message. */
export function titleOf(text) {
  const line = text.trim().split("\n", 1)[0].replace(/\s+/g, " ");
  if (line.length <= TITLE_LENGTH) return line || "New chat";
  return `${line.slice(0, TITLE_LENGTH).replace(/\s\S*$/, "")}…`;
}
