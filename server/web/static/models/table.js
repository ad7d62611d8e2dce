// The table of models; on a narrow screen each row becomes a card.
import { html } from "../core/html.js";
import { bytes, integer, parameters } from "../shared/format.js";
import { failureTitle, isInMemory, isLoading, shortName, stateWords } from "../shared/model_words.js";
import { LoadBar } from "./load_progress.js";
import { RowActions } from "./row_actions.js";

/**
 * @param {{list: import("../core/events.js").Model[], onLoad: (id: string) => void, onDetails: (id: string) => void}} props
 */
export function ModelTable({ list, onLoad, onDetails }) {
  return html`
    <table class="models">
      <thead>
        <tr><th scope="col">Model</th><th scope="col">Type</th><th scope="col" class="right">Size</th><th scope="col" class="right">Context</th><th scope="col">State</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr>
      </thead>
      <tbody>
        ${list.map((model) => html`<${Row} key=${model.id} model=${model} onLoad=${onLoad} onDetails=${onDetails} />`)}
      </tbody>
    </table>`;
}

function Row({ model, onLoad, onDetails }) {
  const { metadata, capabilities = [] } = model;
  const folder = model.id.includes("/") ? model.id.slice(0, model.id.lastIndexOf("/") + 1) : "";
  return html`
    <tr data-model=${model.id}>
      <th scope="row">
        <button type="button" class="name" title=${model.id} onClick=${() => onDetails(model.id)}>${shortName(model.id)}</button>
        ${folder && html`<span class="folder quiet small">${folder}</span>`}
        <span class="pills">${capabilityWords(capabilities).map((word) => html`<span class="pill" key=${word}>${word}</span>`)}</span>
      </th>
      <td data-label="Type">
        <span>${[metadata?.model_type, parameters(metadata?.parameter_count)].filter(Boolean).join(" ") || "unknown"}</span>
        ${metadata?.file_type_name && html`<span class="quiet small">${metadata.file_type_name}</span>`}
      </td>
      <td data-label="Size" class="right number">${model.size ? bytes(model.size) : ""}</td>
      <td data-label="Context" class="right number"><${Context} model=${model} /></td>
      <td data-label="State"><${State} model=${model} onDetails=${onDetails} /></td>
      <td class="row-actions"><${RowActions} model=${model} onLoad=${onLoad} /></td>
    </tr>`;
}

/** Tokens: of the loaded context, else of the training context. */
function Context({ model }) {
  const trained = model.metadata?.parameters.context_length;
  if (!isInMemory(model.status) || !model.n_ctx) return html`<span>${trained ? integer(trained) : ""}</span>`;
  return html`
    <span>${integer(model.n_ctx)}</span>
    ${trained > 0 && trained !== model.n_ctx && html`<span class="quiet small">of ${integer(trained)}</span>`}`;
}

const PILLS = { failed: "error", broken: "error", loaded: "accent", draining: "accent", queued: "warn", loading: "warn" };

function State({ model, onDetails }) {
  const { status } = model;
  const words = status === "loading" ? `Loading ${Math.round(model.progress * 100)} %` : stateWords(status);
  return html`
    <span class="state"><span class="pill ${PILLS[status] || ""} number">${words}</span></span>
    ${isLoading(status) && html`<${LoadBar} model=${model} />`}
    ${isInMemory(status) && model.memory_bytes && html`<span class="quiet small">${bytes(model.memory_bytes)}${model.pinned ? ", pinned" : ""}</span>`}
    ${(status === "failed" || status === "broken") && html`
      <button type="button" class="name why small" aria-label=${`${failureTitle(model.reason)}: why ${shortName(model.id)} failed`}
        onClick=${() => onDetails(model.id)}>${failureTitle(model.reason)}</button>`}`;
}

const CAPABILITIES = { completion: "", embedding: "embeddings", rerank: "rerank", multimodal: "" };

function capabilityWords(list) {
  return list.map((word) => CAPABILITIES[word] ?? word).filter(Boolean);
}
