// What an answer is waiting for, and why it failed.
import { html, useValue } from "../core/html.js";
import { link } from "../core/router.js";
import { models } from "../core/events.js";
import { Icon } from "../shared/icon.js";
import { isLoading, shortName } from "../shared/model_words.js";
import { describe } from "./answer/problems.js";

/** @param {{answer: import("./answer/answer.js").Answer}} props */
export function Pending({ answer }) {
  const phase = useValue(answer.phase);
  const model = useValue(models)?.get(answer.message.model);
  if (phase.name === "writing") return html`<div class="pending" role="img" aria-label="The answer is being written"><span class="working"></span></div>`;
  if (phase.name === "sending" && model && isLoading(model.status)) return html`<${Loading} model=${model} />`;
  return html`
    <div class="pending" role="status">
      <span class="working"></span><span>${words(phase)}</span>
      ${phase.name === "prompt" && phase.total > 0 && phase.done < phase.total && html`<progress max=${phase.total} value=${phase.done} aria-label="Prompt"></progress>`}
      ${phase.name === "retry" && html`<span class="quiet small">${phase.message}</span>`}
    </div>`;
}

function words(phase) {
  if (phase.name === "prompt") return phase.done < phase.total ? `Reading the conversation, ${phase.done.toLocaleString("en")} of ${phase.total.toLocaleString("en")} tokens` : "Waiting for the first token";
  if (phase.name === "retry") return `The server is busy. Trying again in ${phase.seconds} s`;
  if (phase.name === "offline") return "The server does not answer. The question is sent again as soon as it does";
  if (phase.name === "key") return "The server needs a key";
  return "Waiting for the server";
}

function Loading({ model }) {
  const percent = Math.round(model.progress * 100);
  const text = model.status === "queued" ? `${shortName(model.id)} waits to be loaded` : `Loading ${shortName(model.id)}${percent ? `, ${percent} %` : ""}`;
  return html`
    <div class="pending" role="status">
      <span class="working"></span><span>${text}</span>
      <progress max="1" value=${model.status === "loading" ? model.progress : null} aria-label="Load"></progress>
    </div>`;
}

/** @param {{problem: object, model: string, isPartial: boolean, onAgain: () => void}} props */
export function Problem({ problem, model, isPartial, onAgain }) {
  const { title, text, advice, leadsToModels } = describe(problem);
  const log = useValue(models)?.get(model)?.failure?.log || [];
  return html`
    <div class="notice error problem" role="alert">
      <${Icon} name="warning" />
      <div>
        <strong>${title}</strong>
        ${text && html`<p>${text}</p>`}
        ${isPartial && html`<p>The answer so far is kept: press Continue to go on from there.</p>`}
        ${advice && html`<p>${advice}</p>`}
        ${problem.reason && log.length > 0 && html`<details><summary>The end of its log</summary><pre tabindex="0" class="log">${log.join("\n")}</pre></details>`}
        ${leadsToModels && html`<p><a href=${link("models", model)}>Load it with other settings</a></p>`}
        ${!isPartial && html`<button type="button" onClick=${onAgain}>Try again</button>`}
      </div>
    </div>`;
}
