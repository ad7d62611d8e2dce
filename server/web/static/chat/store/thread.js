// Thread: one conversation with its messages, which form a tree: an edited question or a second answer is a branch.
import { signal } from "../../core/html.js";
import * as database from "./database.js";
import { keep, keepMessage, titleInList, titleOf } from "./history.js";

export class Thread {
  /** Changes whenever the component that shows the thread has to be drawn again. */
  changed = signal(0);
  /** Whether it is in the list of conversations: a new one is, from its first message on. */
  isKept = false;
  /** @type {Map<string, database.Message>} */
  messages = new Map();
  #children = new Map();

  /** @param {database.Conversation} conversation */
  constructor(conversation) {
    this.conversation = conversation;
  }

  /** A conversation without messages. */
  static make(model, settings) {
    const now = Date.now();
    return new Thread({ id: database.newId(), title: "New chat", created: now, updated: now, model, settings, leaf: "" });
  }

  /** @returns {Promise<Thread|null>} null if there is no such conversation */
  static async read(id) {
    const conversation = await database.readConversation(id);
    if (!conversation) return null;
    const thread = new Thread(conversation);
    thread.isKept = true;
    for (const message of await database.readMessages(id)) {
      // It was being written when the page was closed.
      if (message.state === "working") message.state = "cut";
      thread.#insert(message);
    }
    return thread;
  }

  /** The messages of the branch that is shown, the first one first. */
  path() {
    return this.pathTo(this.conversation.leaf);
  }

  pathTo(id) {
    const path = [];
    const seen = new Set();
    for (let message = this.messages.get(id); message && !seen.has(message.id); message = this.messages.get(message.parent)) {
      seen.add(message.id);
      path.push(message);
    }
    return path.reverse();
  }

  /** The messages that answer the same one, in order of time. */
  siblings(message) {
    return this.#children.get(message.parent) || [message];
  }

  /** Add a message to the end of a branch, show that branch, and keep it. */
  add(fields) {
    const message = { id: database.newId(), conversation: this.conversation.id, created: Date.now(), content: "", ...fields };
    this.#insert(message);
    if (!this.isKept && message.role === "user") this.conversation.title = titleOf(message.content || message.attachments?.[0]?.name || "");
    this.isKept = true;
    this.update({ leaf: message.id, updated: Date.now() }, [message]);
    return message;
  }

  /** Show the branch of a sibling, down to its newest message. */
  show(message) {
    let leaf = message;
    // An imported file may have a message among those that it answers.
    const seen = new Set();
    for (let below = this.#children.get(leaf.id); below?.length && !seen.has(leaf); below = this.#children.get(leaf.id)) {
      seen.add(leaf);
      leaf = below[below.length - 1];
    }
    this.update({ leaf: leaf.id });
  }

  /** Change fields of the conversation; stored, unless the thread has no message yet. */
  update(fields, messages = []) {
    Object.assign(this.conversation, { title: titleInList(this.conversation) }, fields);
    if (this.isKept) keep({ ...this.conversation }, messages);
    this.redraw();
  }

  /** Keep a message whose fields have changed. */
  keepMessage(message) {
    return keepMessage(message);
  }

  redraw() {
    this.changed.value += 1;
  }

  #insert(message) {
    this.messages.set(message.id, message);
    const siblings = this.#children.get(message.parent) || [];
    siblings.push(message);
    this.#children.set(message.parent, siblings);
  }
}
