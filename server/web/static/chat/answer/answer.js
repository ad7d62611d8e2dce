// Answer: one answer in progress. It continues while other chats or tabs are shown.
import { errorOfEvent, get, stream } from "../../core/api.js";
import { refreshModels } from "../../core/events.js";
import { effect, signal } from "../../core/html.js";
import { key } from "../../core/session.js";
import { defaultModel } from "../model_choice.js";
import { problemOf } from "./problems.js";
import { chatBody } from "./request.js";
import { addUsage, StatsMeter } from "./stats.js";

const KEEP_MS = 1000;
const POLL_MS = 1500;
const MOST_RETRIES = 30;
// Errors that have a Retry-After, but that a retry does not mend: the user has to do something.
const HOPELESS = new Set(["crash_loop", "load_cancelled"]);

/** The answers in progress, by the ids of their messages. @type {{value: Map<string, Answer>}} */
export const answers = signal(new Map());

/**
 * @typedef {object} Phase
 * @property {"sending"|"prompt"|"writing"|"retry"|"offline"|"key"} name
 * @property {number} [done] prompt tokens
 * @property {number} [total]
 * @property {number} [seconds] until the next try
 * @property {string} [message] why it has to wait
 */

export class Answer {
  /** @type {{value: Phase}} */
  phase = signal({ name: "sending" });
  /** Changes when text arrived, at most once a frame. */
  tick = signal(0);
  #abort = new AbortController();
  #frame = 0;
  #keptAt = 0;
  #hasText = false;
  /** The key at the beginning of the last try. */
  #key = "";

  /**
   * @param {import("../store/thread.js").Thread} thread
   * @param {import("../store/database.js").Message} message the assistant's, empty or to be continued
   */
  constructor(thread, message) {
    this.thread = thread;
    this.message = message;
    this.continues = Boolean(message.content || message.reasoning);
  }

  /** Answer the last message of a branch. */
  static start(thread, parent) {
    const { model } = thread.conversation;
    const message = thread.add({ role: "assistant", parent: parent.id, model, state: "working" });
    return Answer.#run(new Answer(thread, message));
  }

  /** Continue an answer that was stopped, broke off or was too long. */
  static continue(thread, message) {
    const answer = new Answer(thread, message);
    Object.assign(message, { state: "working", problem: undefined, model: thread.conversation.model });
    return Answer.#run(answer);
  }

  static #run(answer) {
    answers.value = new Map(answers.peek()).set(answer.message.id, answer);
    answer.thread.redraw();
    answer.#runToEnd();
    return answer;
  }

  /** End it; the text so far is kept. */
  stop() {
    this.#abort.abort();
  }

  async #runToEnd() {
    const end = await this.#tryUntilDone();
    cancelAnimationFrame(this.#frame);
    Object.assign(this.message, end);
    const next = new Map(answers.peek());
    next.delete(this.message.id);
    answers.value = next;
    this.thread.update({ updated: Date.now() }, [this.message]);
  }

  async #tryUntilDone() {
    for (let tries = 0; ; tries++) {
      try {
        await this.#stream();
        return { state: "done" };
      } catch (error) {
        if (this.#abort.signal.aborted) return { state: "stopped" };
        const mayRetry = !this.#hasText && tries < MOST_RETRIES && (await this.#waitToRetry(error));
        if (this.#abort.signal.aborted) return { state: "stopped" };
        if (!mayRetry) return { state: this.message.content || this.message.reasoning ? "cut" : "failed", problem: problemOf(error) };
      }
    }
  }

  async #stream() {
    const { thread, message } = this;
    this.phase.value = { name: "sending" };
    this.#key = key.peek();
    message.model ||= await this.#modelOfThread();
    const path = thread.pathTo(this.continues ? message.id : message.parent);
    const body = await chatBody(path, thread.conversation.settings, this.continues);
    const meter = new StatsMeter();
    message.finish = "";
    const url = `api/v2/chat/${encodeURIComponent(message.model)}/stream`;
    for await (const chunk of stream("POST", url, { body, signal: this.#abort.signal })) {
      if (chunk.error) throw errorOfEvent(chunk);
      this.#receive(chunk, meter);
    }
    if (!message.finish) throw errorOfEvent({ error: { message: "the answer ended without its last event", code: "unreachable" } });
  }

  /** The model of a chat whose first message was sent before the page knew of a model. */
  async #modelOfThread() {
    const { thread } = this;
    if (!defaultModel()) await refreshModels(this.#abort.signal);
    if (!thread.conversation.model) thread.update({ model: defaultModel() });
    const { model } = thread.conversation;
    if (!model) throw errorOfEvent({ error: { message: "the server has no model that can chat", code: "no_model" } });
    return model;
  }

  #receive(chunk, meter) {
    const { message } = this;
    if (chunk.warnings) message.warnings = chunk.warnings;
    if (chunk.usage) addUsage(message, chunk.usage);
    if (chunk.timings) message.stats = meter.end(chunk.timings, message.stats);
    const choice = chunk.choices[0];
    if (!choice) return;
    if (chunk.prompt_progress) {
      const { processed: done, total } = chunk.prompt_progress;
      if (!this.#hasText) this.phase.value = { name: "prompt", done, total };
    }
    const { content, reasoning_content: reasoning, tool_calls: calls = [] } = choice.delta;
    if (content) message.content += content;
    if (reasoning) message.reasoning = (message.reasoning || "") + reasoning;
    for (const call of calls) addCall(message, call);
    if (choice.finish_reason) message.finish = choice.finish_reason;
    if (!content && !reasoning && !calls.length) return;
    if (!this.#hasText) {
      this.#hasText = true;
      meter.first();
      this.phase.value = { name: "writing" };
    }
    this.#show();
  }

  #show() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.tick.value += 1;
    });
    // A closed or crashed page loses at most the last second.
    const now = performance.now();
    if (now - this.#keptAt > KEEP_MS) {
      this.#keptAt = now;
      this.thread.keepMessage({ ...this.message });
    }
  }

  /** Wait until another try makes sense; false if it never does. */
  async #waitToRetry(error) {
    const { signal: ended } = this.#abort;
    if (error.code === "unreachable") {
      this.phase.value = { name: "offline" };
      while (!ended.aborted && !(await answersAgain(ended))) await pause(POLL_MS, ended);
      return true;
    }
    if (error.status === 401) {
      this.phase.value = { name: "key" };
      await keyOtherThan(this.#key, ended);
      return true;
    }
    if (!error.retryAfter || HOPELESS.has(error.code)) return false;
    if (error.status !== 429 && error.status !== 503) return false;
    for (let seconds = Math.ceil(error.retryAfter); seconds > 0 && !ended.aborted; seconds--) {
      this.phase.value = { name: "retry", seconds, message: error.message };
      await pause(1000, ended);
    }
    return true;
  }
}

function addCall(message, { index, id, function: called }) {
  message.calls ||= [];
  const call = (message.calls[index] ||= { id: "", name: "", arguments: "" });
  if (id) call.id = id;
  if (called?.name) call.name = called.name;
  call.arguments += called?.arguments || "";
}

async function answersAgain(signal) {
  return get("live", { signal }).then(() => true, () => false);
}

/** The user may have entered another key before the server refused this one. */
async function keyOtherThan(refused, ended) {
  let end = () => {};
  await new Promise((resolve) => {
    end = effect(() => {
      if (key.value !== refused) resolve();
    });
    ended.addEventListener("abort", resolve, { once: true });
  });
  end();
}

function pause(milliseconds, ended) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    ended.addEventListener("abort", resolve, { once: true });
  });
}
