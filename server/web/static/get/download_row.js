// One download: progress, and what can be done in its state.
import { html, useState } from "../core/html.js";
import { link } from "../core/router.js";
import { bytes, duration, plural, sentence } from "../shared/format.js";
import { Confirm } from "../shared/dialog.js";
import { Icon } from "../shared/icon.js";
import { RequestError } from "../shared/request_error.js";
import { useAction } from "../shared/use_action.js";
import { discard, hide, isActive, pause, start } from "./downloads.js";
import { hubAdvice } from "./hub_words.js";

/** @param {{download: import("./downloads.js").Download}} props */
export function DownloadRow({ download }) {
  const { run, busy, failed, setFailed } = useAction();
  const [asks, setAsks] = useState(false);
  const { model, state, error } = download;
  const resume = () => start(model, download.files[0].file);
  const discardIt = () => run(() => discard(download));
  const button = (label, action, kind = "") =>
    html`<button type="button" class=${kind} disabled=${busy} aria-label=${`${label} ${model}`} onClick=${() => run(action)}>${label}</button>`;
  return html`
    <li class="download card" data-download=${model} data-state=${state}>
      <div class="download-head">
        <strong class="sentence">${model}</strong>
        <div class="buttons">
          ${isActive(download) && button("Pause", () => pause(download))}
          ${(state === "cancelled" || state === "failed") && button(state === "failed" ? "Try again" : "Resume", resume)}
          ${(isActive(download) || ((state === "cancelled" || state === "failed") && download.bytes_done > 0)) && html`
            <button type="button" class="danger" disabled=${busy} aria-label=${`Discard ${model}`} onClick=${download.bytes_done > 0 ? () => setAsks(true) : discardIt}>Discard</button>`}
          ${state === "completed" && download.model_id && html`<a class="button primary" href=${link("models", download.model_id)}>Load</a>`}
          ${!isActive(download) && (state === "completed" || download.bytes_done === 0) && html`
            <button type="button" class="icon" aria-label=${`Remove ${model} from this list`} title="Remove from this list" onClick=${() => hide(download)}><${Icon} name="close" /></button>`}
        </div>
      </div>
      ${state !== "completed" && html`<progress aria-label=${`Download of ${model}`} max=${download.bytes_total || 1} value=${download.bytes_done}></progress>`}
      <p class="small number quiet" role=${isActive(download) ? null : "status"}>${stateOf(download)}</p>
      ${asks && html`
        <${Confirm} title=${`Discard ${model}?`} action="Discard" busy=${busy} onClose=${() => setAsks(false)} onConfirm=${() => discardIt().then(() => setAsks(false))}>
          <p>${bytes(download.bytes_done)} are already here and are deleted. “Pause” keeps them.</p>
        <//>`}
      ${error && html`<div class="notice error"><p class="sentence">${sentence(error.message)}</p>${hubAdvice(error.code) && html`<p>${hubAdvice(error.code)}</p>`}</div>`}
      ${failed && html`<${RequestError} error=${failed.error} advice=${hubAdvice(failed.error.code)} onRetry=${() => run(failed.action)} />`}
    </li>`;
}

function stateOf(download) {
  const { state, bytes_done: done, bytes_total: total } = download;
  const amount = `${bytes(done)} of ${bytes(total)}`;
  const files = download.files.length > 1 ? `, ${plural(download.files.length, "file")}` : "";
  if (state === "queued") return `Waits until another download ends: ${amount}${files}`;
  if (state === "cancelled") return `Paused: ${amount}${files}`;
  if (state === "failed") return `Stopped: ${amount}${files}`;
  if (state === "completed") return `Downloaded: ${bytes(total)}${files}`;
  if (done === total && total > 0) return `Checking its content: ${bytes(total)}${files}`;
  const left = download.eta_seconds === null ? "" : `, ${duration(download.eta_seconds)} left`;
  const speed = download.bytes_per_second ? `, ${bytes(download.bytes_per_second)}/s` : "";
  return `${amount}${files}${speed}${left}`;
}
