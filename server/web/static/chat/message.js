// One message of a conversation, with its actions.
import { announce } from "../shared/announcer.js";
import { CopyButton } from "../shared/copy.js";
import { effect, html, useLayoutEffect, useRef, useState, useValue } from "../core/html.js";
import { focusIfLost } from "../shared/focus.js";
import { Icon } from "../shared/icon.js";
import { Answer, answers } from "./answer/answer.js";
import { Attachments } from "./attachments.js";
import { MarkdownView } from "./markdown/markdown_view.js";
import { Pending, Problem } from "./message_state.js";
import { describeStats } from "./answer/stats.js";

const MAY_CONTINUE = new Set(["stopped", "cut"]);

/** @param {{thread: import("./store/thread.js").Thread, message: import("./store/database.js").Message, isLast: boolean}} props */
export function Message({ thread, message, isLast }) {
  const [isEditing, setEditing] = useState(false);
  const answer = useValue(answers).get(message.id) || null;
  const edit = () => setEditing(true);
  const endEdit = () => {
    setEditing(false);
    focusIfLost("#composer");
  };
  const again = () => Answer.start(thread, thread.messages.get(message.parent));
  if (isEditing) return html`<${Editor} thread=${thread} message=${message} onEnd=${endEdit} />`;
  return html`
    <article class="message ${message.role}" data-id=${message.id} aria-label=${{ user: "You", assistant: "Answer", tool: "Tool result" }[message.role]}>
      <${Attachments} attachments=${message.attachments} />
      ${message.role === "assistant"
        ? html`<${AnswerBody} message=${message} answer=${answer} onAgain=${again} />`
        : message.content && html`<div class="said">${message.content}</div>`}
      ${!answer && html`
        <footer class="message-foot">
          <${Branches} thread=${thread} message=${message} />
          ${message.content && html`<${CopyButton} text=${() => message.content} label="Copy this message" />`}
          ${message.role !== "tool" && (message.content || message.role === "user") && html`<button type="button" class="icon" aria-label="Edit as a new branch" title="Edit as a new branch" onClick=${edit}><${Icon} name="edit" /></button>`}
          ${message.role === "assistant" && html`<${AnswerActions} thread=${thread} message=${message} isLast=${isLast} onAgain=${again} />`}
        </footer>`}
    </article>`;
}

function AnswerBody({ message, answer, onAgain }) {
  return html`
    ${(message.reasoning || answer) && html`<${Reasoning} message=${message} answer=${answer} />`}
    <${Markdown} message=${message} answer=${answer} />
    ${message.calls?.map((call, index) => call && html`<${Call} key=${index} call=${call} answer=${answer} />`)}
    ${answer && html`<${Pending} answer=${answer} />`}
    ${!answer && message.problem && html`<${Problem} problem=${message.problem} model=${message.model} isPartial=${message.state === "cut"} onAgain=${onAgain} />`}
    ${!answer && !message.problem && message.state === "cut" && html`<p class="quiet small">This answer broke off when the page was closed.</p>`}
    ${!answer && message.warnings?.length > 0 && html`<ul class="warnings small quiet" aria-label="Warnings of the server">${message.warnings.map((text) => html`<li>${text}</li>`)}</ul>`}`;
}

/** The text; while the answer arrives, drawn outside of Preact: only its last block changes. */
function Markdown({ message, answer }) {
  const root = useRef(null);
  const view = useRef(null);
  useLayoutEffect(() => {
    view.current ||= new MarkdownView(root.current, (text) => view.current.isAnnounced && announce(text));
    view.current.isAnnounced ||= Boolean(answer);
    if (!answer) {
      view.current.update(message.content, true);
      view.current.isAnnounced = false;
      return undefined;
    }
    return effect(() => {
      answer.tick.value;
      view.current.update(message.content, false);
    });
  }, [answer, message.content]);
  return html`<div class="markdown" ref=${root}></div>`;
}

function Reasoning({ message, answer }) {
  const box = useRef(null);
  const text = useRef(null);
  useLayoutEffect(() => {
    const draw = () => {
      const { reasoning = "" } = message;
      box.current.hidden = !reasoning;
      const shown = text.current.firstChild || text.current.appendChild(document.createTextNode(""));
      if (reasoning.startsWith(shown.data)) shown.appendData(reasoning.slice(shown.data.length));
      else shown.data = reasoning;
      box.current.classList.toggle("working", Boolean(answer) && !message.content);
    };
    if (!answer) {
      draw();
      return undefined;
    }
    return effect(() => {
      answer.tick.value;
      draw();
    });
  }, [answer, message.reasoning]);
  return html`<details class="reasoning" ref=${box} hidden><summary>Reasoning</summary><div class="said" ref=${text}></div></details>`;
}

function Call({ call, answer }) {
  useValue(answer ? answer.tick : NEVER);
  return html`
    <details class="call">
      <summary>Calls <code>${call.name}</code></summary>
      <pre tabindex="0">${indented(call.arguments)}</pre>
    </details>`;
}

const NEVER = { value: 0, peek: () => 0 };

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function AnswerActions({ thread, message, isLast, onAgain }) {
  const mayContinue = isLast && (message.content || message.reasoning) && !message.calls?.length && (MAY_CONTINUE.has(message.state) || message.finish === "length");
  return html`
    ${message.state !== "failed" && html`<button type="button" class="icon" aria-label="Answer again" title="Answer again" onClick=${onAgain}><${Icon} name="refresh" /></button>`}
    ${mayContinue && html`<button type="button" class="plain small" onClick=${() => Answer.continue(thread, message)}><${Icon} name="play" />Continue</button>`}
    ${message.stats && html`
      <span class="stats small quiet number">
        ${describeStats(message.stats).map((part) => html`<span key=${part.title} title=${part.title}>${part.text}</span>`)}
      </span>`}`;
}

/** Which of several branches is shown, and how to see the others. */
function Branches({ thread, message }) {
  const siblings = thread.siblings(message);
  if (siblings.length < 2) return null;
  const at = siblings.indexOf(message);
  const move = (step) => () => thread.show(siblings[at + step]);
  return html`
    <span class="branches" role="group" aria-label=${`Branch ${at + 1} of ${siblings.length}`}>
      <button type="button" class="icon" aria-label="Previous branch" disabled=${at === 0} onClick=${move(-1)}><${Icon} name="chevronLeft" /></button>
      <span class="number small quiet">${at + 1}/${siblings.length}</span>
      <button type="button" class="icon" aria-label="Next branch" disabled=${at === siblings.length - 1} onClick=${move(1)}><${Icon} name="chevronRight" /></button>
    </span>`;
}

/** A changed question becomes a new branch with a new answer; a changed answer a new branch to go on from. */
function Editor({ thread, message, onEnd }) {
  const field = useRef(null);
  useLayoutEffect(() => {
    field.current.focus();
    field.current.setSelectionRange(field.current.value.length, field.current.value.length);
  }, []);
  const isQuestion = message.role === "user";
  const save = () => {
    const { role, parent, attachments, model } = message;
    const content = field.current.value;
    onEnd();
    if (!content.trim() && !attachments?.length) return;
    const added = thread.add({ role, parent, content, attachments, ...(isQuestion ? {} : { model, state: "done" }) });
    if (isQuestion) Answer.start(thread, added);
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    if (event.key === "Escape") {
      event.stopPropagation();
      onEnd();
    }
  };
  return html`
    <div class="message editor ${message.role}">
      <textarea ref=${field} rows="4" aria-label="Change this message" defaultValue=${message.content} onKeyDown=${onKeyDown}></textarea>
      <div class="row">
        <button type="button" class="primary" onClick=${save}>${isQuestion ? "Send as a new branch" : "Save as a new branch"}</button>
        <button type="button" onClick=${onEnd}>Cancel</button>
      </div>
    </div>`;
}
