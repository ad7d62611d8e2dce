// The result of a load: warnings, memory, and every effective setting.
import { chatWith } from "../chat/model_choice.js";
import { html } from "../core/html.js";
import { link } from "../core/router.js";
import { bytes, duration, integer } from "../shared/format.js";
import { Warnings } from "../shared/failure.js";
import { useFocus } from "../shared/use_focus.js";

const FIRST = ["n_ctx", "n_parallel", "n_gpu_layers", "cache_type_k", "cache_type_v", "flash_attn", "threads", "layout", "vision", "audio", "ttl", "pinned"];

/** @param {{id: string, reply: object, onClose: () => void}} props `reply` is the answer to the load */
export function LoadResult({ id, reply, onClose }) {
  const done = useFocus();
  return html`
    <div class="result">
      <p role="status" class="good"><strong>Loaded</strong>, ${reply.memory_used.replace(/(?=[MG]B)/, " ")} of memory.</p>
      <${Effective} reply=${reply} />
      <div class="foot"><div class="actions">
        <a class="button" href=${link("chat")} onClick=${() => chatWith(id)}>Chat</a>
        <button type="button" ref=${done} class="primary" onClick=${onClose}>Done</button>
      </div></div>
    </div>`;
}

/** Warnings, memory and effective settings of a model in memory, from its document or a load's answer. */
export function Effective({ reply }) {
  const settings = reply.settings.effective || {};
  const first = FIRST.filter((name) => isSet(settings[name]));
  const others = Object.keys(settings).filter((name) => isSet(settings[name]) && !FIRST.includes(name)).sort();
  return html`
    <${Warnings} list=${reply.warnings} />
    ${reply.memory && html`
      <dl class="pairs">
        ${reply.memory.filter((device) => device.used_bytes > 0).map((device) => html`
          <${Pair} key=${device.device} name=${device.kind === "host" ? "Host memory" : device.device}
            value=${`${bytes(device.used_bytes)}: weights ${bytes(device.model_bytes)}, context ${bytes(device.context_bytes)}, buffers ${bytes(device.compute_bytes)}`} />`)}
      </dl>`}
    <h3>Effective settings</h3>
    <dl class="pairs">${first.map((name) => html`<${Pair} key=${name} name=${name} value=${words(name, settings[name])} />`)}</dl>
    ${others.length > 0 && html`
      <details>
        <summary>${others.length} more</summary>
        <dl class="pairs">${others.map((name) => html`<${Pair} key=${name} name=${name} value=${words(name, settings[name])} />`)}</dl>
      </details>`}`;
}

/** A name and its value in a list of pairs. */
export function Pair({ name, value }) {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

function isSet(value) {
  return value !== null && value !== undefined && value !== "";
}

function words(name, value) {
  if (name === "ttl") return value < 0 ? "never unloaded when idle" : `unloaded after ${duration(value)} idle`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && Number.isInteger(value)) return integer(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
