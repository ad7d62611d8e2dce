// The settings of a conversation: system prompt, sampling, reasoning, the form of the answer.
import { html, useEffect, useLayoutEffect, useRef, useValue } from "../core/html.js";
import { Icon } from "../shared/icon.js";
import { toast } from "../shared/toast.js";
import { jsonProblem, keepAsDefault, NUMBERS, REASONING } from "./store/settings.js";

const KEEP_MS = 500;

/** @param {{thread: import("./store/thread.js").Thread, facts: object|null, onClose: () => void}} props */
export function SettingsPanel({ thread, facts, onClose }) {
  useValue(thread.changed);
  const panel = useRef(null);
  useLayoutEffect(() => panel.current.querySelector("textarea").focus(), []);
  const { settings } = thread.conversation;
  const set = useTyped(thread);
  const reset = () => thread.update({ settings: {} });
  const keep = () => {
    keepAsDefault(settings);
    toast("New chats begin with these settings.");
  };
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
  };
  return html`
    <aside class="settings" aria-label="Settings of this chat" ref=${panel} onKeyDown=${onKeyDown}>
      <header class="row">
        <h2>Settings of this chat</h2>
        <button type="button" class="icon" aria-label="Close the settings" onClick=${onClose}><${Icon} name="close" /></button>
      </header>
      <${Long} name="system" label="System prompt" hint="who the model is and how it answers" settings=${settings} set=${set} rows="4" />
      <h3>Sampling</h3>
      <p class="quiet small">An empty field is the model's own setting, shown in grey.</p>
      <div class="numbers">
        ${NUMBERS.map((field) => html`<${Number} key=${field.name} field=${field} settings=${settings} set=${set} own=${facts?.sampling?.[field.name]} />`)}
      </div>
      <${Long} name="stop" label="Stop strings" hint="one in each line; an answer ends before the first of them" settings=${settings} set=${set} rows="2" />
      <label>Reasoning
        <select value=${settings.reasoning || ""} onChange=${(event) => set("reasoning", event.target.value)}>
          ${REASONING.map((one) => html`<option key=${one.value} value=${one.value}>${one.label}</option>`)}
        </select>
      </label>
      <h3>Form of the answer</h3>
      <${Long} name="schema" label="JSON schema" hint="the answer is JSON of this form" settings=${settings} set=${set} rows="4" kind="object" />
      <${Long} name="tools" label="Tools" hint="an array of functions in OpenAI's form; calls are shown, and not run" settings=${settings} set=${set} rows="4" kind="array" />
      <footer class="row">
        <button type="button" onClick=${keep}>Use for new chats</button>
        <button type="button" class="plain" onClick=${reset}>Reset</button>
      </footer>
    </aside>`;
}

/** Changes a setting at once, and keeps it when the user pauses or closes the panel. */
function useTyped(thread) {
  const timer = useRef(0);
  const keep = () => {
    timer.current = 0;
    thread.update({});
  };
  useEffect(() => () => {
    if (!timer.current) return;
    clearTimeout(timer.current);
    keep();
  }, [thread]);
  return (name, value) => {
    const { conversation } = thread;
    conversation.settings = { ...conversation.settings, [name]: value };
    thread.redraw();
    clearTimeout(timer.current);
    timer.current = setTimeout(keep, KEEP_MS);
  };
}

function Number({ field: { name, label, hint, min, max, step }, settings, set, own }) {
  // llama.cpp's number for a random seed.
  const shown = name === "seed" && own === 4294967295 ? -1 : own;
  const placeholder = shown === undefined || shown === null ? "" : String(Math.round(shown * 1000) / 1000);
  return html`
    <label title=${hint}>
      <span>${label}</span>
      <input type="number" inputmode="decimal" min=${min} max=${max} step=${step} placeholder=${placeholder} value=${settings[name] ?? ""}
        onInput=${(event) => set(name, event.target.value)} />
    </label>`;
}

function Long({ name, label, hint, settings, set, rows, kind }) {
  const problem = kind ? jsonProblem(settings[name], kind) : "";
  return html`
    <label>${label} <span class="quiet small">${hint}</span>
      <textarea rows=${rows} spellcheck=${kind ? "false" : "true"} class=${kind ? "mono" : ""} value=${settings[name] || ""}
        aria-invalid=${problem ? "true" : null} onInput=${(event) => set(name, event.target.value)}></textarea>
    </label>
    ${problem && html`<p class="error small" role="alert">${problem} It is not sent.</p>`}`;
}
