// A load on its way, from the server's events; also shown in the table.
import { models } from "../core/events.js";
import { html, useState, useValue } from "../core/html.js";
import { stateWords } from "../shared/model_words.js";
import { RequestError } from "../shared/request_error.js";
import { useFocus } from "../shared/use_focus.js";
import { cancelLoad } from "./actions.js";

/** @param {{id: string, begun: Promise<void>, onClose: () => void}} props `begun` ends once the server has begun */
export function LoadProgress({ id, begun, onClose }) {
  const model = useValue(models)?.get(id);
  const [error, setError] = useState(null);
  const close = useFocus();
  const cancel = () => cancelLoad(id, begun).catch(setError);
  return html`
    <div class="loading">
      <p>${loadWords(model)}</p>
      <p role="status" class="visually-hidden">${model ? stateWords(model.status) : ""}</p>
      <${LoadBar} model=${model} />
      <p class="quiet small">You can close this window; the load goes on.</p>
      <${RequestError} error=${error} />
      <div class="actions">
        <button type="button" class="danger" onClick=${cancel}>Cancel the load</button>
        <button type="button" ref=${close} onClick=${onClose}>Close</button>
      </div>
    </div>`;
}

/** The bar of a load; without a value while it waits. */
export function LoadBar({ model }) {
  const value = model?.status === "loading" ? model.progress : null;
  return value === null
    ? html`<progress aria-label="Load"></progress>`
    : html`<progress aria-label="Load" max="1" value=${value}></progress>`;
}

function loadWords(model) {
  if (model?.status === "loading") return `Loading: ${Math.round(model.progress * 100)} %`;
  if (model?.status === "queued") return "Waiting for memory, or for other loads…";
  if (model?.status === "draining") return "Waiting for running answers to end…";
  if (model?.status === "loaded") return "Checking the new settings…";
  return model ? `${stateWords(model.status)}…` : "Loading…";
}
