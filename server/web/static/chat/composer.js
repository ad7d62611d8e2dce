// Where the user writes: Enter sends, Shift+Enter begins a line; images, audio and texts by paste, drop or choice.
import { html, signal, useLayoutEffect, useRef, useState, useValue } from "../core/html.js";
import { Icon } from "../shared/icon.js";
import { Attachments, readFiles, whyNotTaken } from "./attachments.js";

/** What is written and not sent yet; it stays when another tab or chat is shown. */
export const draft = signal({ text: "", attachments: [] });

const GROWS_BY_ITSELF = CSS.supports("field-sizing", "content");

/**
 * @param {object} props
 * @param {boolean} props.isAnswering an answer is on its way in this chat
 * @param {string} props.why why nothing can be sent, as a sentence; "" if it can
 * @param {object|null} props.facts of the model, see model_choice.js
 * @param {(text: string, attachments: object[]) => void} props.onSend
 * @param {() => void} props.onStop
 * @param {() => void} props.onEditLast
 */
export function Composer({ isAnswering, why, facts, onSend, onStop, onEditLast }) {
  const { text, attachments } = useValue(draft);
  const [problems, setProblems] = useState([]);
  const [isOver, setOver] = useState(false);
  const field = useRef(null);
  const file = useRef(null);
  useLayoutEffect(() => {
    if (GROWS_BY_ITSELF) return;
    field.current.style.height = "auto";
    field.current.style.height = `${field.current.scrollHeight + 2}px`;
  }, [text]);
  const refusal = whyNotTaken(attachments, facts);
  const canSend = !isAnswering && !why && !refusal && Boolean(text.trim() || attachments.length);
  const send = () => {
    if (!canSend) return;
    draft.value = { text: "", attachments: [] };
    setProblems([]);
    onSend(text, attachments);
  };
  const add = (files) => {
    const read = readFiles(files);
    draft.value = { ...draft.peek(), attachments: [...draft.peek().attachments, ...read.attachments] };
    setProblems(read.problems);
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && !text) {
      event.preventDefault();
      onEditLast();
    }
  };
  const onPaste = (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    add(event.clipboardData.files);
  };
  useDroppedFiles(add, setOver);
  return html`
    <form class="composer ${isOver ? "over" : ""}" onSubmit=${(event) => event.preventDefault()}>
      ${[...problems, refusal].filter(Boolean).map((problem) => html`<p key=${problem} class="error small" role="alert">${problem}</p>`)}
      <${Attachments} attachments=${attachments} onRemove=${(at) => { draft.value = { text, attachments: attachments.filter((_, index) => index !== at) }; }} />
      <textarea id="composer" ref=${field} rows="1" aria-label="Message" placeholder=${why || "Write a message"} enterkeyhint="send"
        value=${text} onInput=${(event) => { draft.value = { text: event.target.value, attachments }; }} onKeyDown=${onKeyDown} onPaste=${onPaste}></textarea>
      <div class="row">
        <button type="button" class="icon" aria-label="Attach files" title="Attach images, audio or texts" onClick=${() => file.current.click()}><${Icon} name="paperclip" /></button>
        <input ref=${file} type="file" multiple hidden aria-label="Files to attach" onChange=${() => { add(file.current.files); file.current.value = ""; }} />
        <span class="hint small quiet">Enter sends, Shift+Enter begins a line</span>
        ${isAnswering
          ? html`<button type="button" class="send stop" aria-label="Stop the answer" title="Stop (Escape)" onClick=${onStop}><${Icon} name="stop" /></button>`
          : html`<button type="button" class="send primary" aria-label="Send" disabled=${!canSend} onClick=${send}><${Icon} name="send" /></button>`}
      </div>
    </form>`;
}

/** Files dropped anywhere on the page, from its first drawing on: the browser would open them in place of the page. */
function useDroppedFiles(add, setOver) {
  useLayoutEffect(() => {
    const isOfFiles = (event) => event.dataTransfer?.types.includes("Files");
    const onDragOver = (event) => {
      if (!isOfFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onDragLeave = (event) => !event.relatedTarget && setOver(false);
    const onDrop = (event) => {
      if (!isOfFiles(event)) return;
      event.preventDefault();
      setOver(false);
      add(event.dataTransfer.files);
    };
    const handlers = { dragover: onDragOver, dragleave: onDragLeave, drop: onDrop };
    for (const [name, handler] of Object.entries(handlers)) document.addEventListener(name, handler);
    return () => {
      for (const [name, handler] of Object.entries(handlers)) document.removeEventListener(name, handler);
    };
  }, []);
}
