// Why a model is not in memory: headline, the server's sentence, what to do, the end of its log.
import { html } from "../core/html.js";
import { sentence } from "./format.js";
import { Icon } from "./icon.js";
import { failureAdvice, failureTitle } from "./model_words.js";

/** @param {{reason: string|null, detail: string|null, log?: string[]}} props */
export function Failure({ reason, detail, log = [] }) {
  const advice = failureAdvice(reason);
  return html`
    <div class="notice error failure">
      <strong><${Icon} name="warning" /> ${failureTitle(reason)}</strong>
      ${detail && html`<p class="sentence">${sentence(detail)}</p>`}
      ${advice && html`<p>${advice}</p>`}
      ${log.length > 0 && html`
        <details open=${log.length <= 4}>
          <summary>The last ${log.length === 1 ? "line" : `${log.length} lines`} of its log</summary>
          <pre tabindex="0" class="log">${log.join("\n")}</pre>
        </details>`}
    </div>`;
}

/** Warnings of the server about settings that could not be applied; nothing without any. */
export function Warnings({ list }) {
  if (!list?.length) return null;
  return html`
    <div class="notice warn">
      <strong>${list.length === 1 ? "A warning" : "Warnings"}</strong>
      <ul class="plain-list">${list.map((text) => html`<li key=${text}>${text}</li>`)}</ul>
    </div>`;
}
