// Everything about one model: its file, its failure, or its effective settings and speed.
import { get, modelPath } from "../core/api.js";
import { models } from "../core/events.js";
import { html, useEffect, useState, useValue } from "../core/html.js";
import { bytes, dateTime, integer, parameters, rate } from "../shared/format.js";
import { Dialog } from "../shared/dialog.js";
import { Failure } from "../shared/failure.js";
import { isInMemory, shortName, stateWords } from "../shared/model_words.js";
import { RequestError } from "../shared/request_error.js";
import { Effective, Pair } from "./load_result.js";

/** @param {{id: string, onClose: () => void}} props */
export function DetailsDialog({ id, onClose }) {
  const status = useValue(models)?.get(id)?.status;
  const [model, setModel] = useState(null);
  const [error, setError] = useState(null);
  const read = () => {
    const control = new AbortController();
    setError(null);
    get(modelPath(id), { signal: control.signal })
      .then(setModel)
      .catch((failure) => control.signal.aborted || setError(failure));
    return () => control.abort();
  };
  useEffect(read, [id, status]);
  return html`
    <${Dialog} title=${shortName(id)} onClose=${onClose}>
      <${RequestError} error=${error} onRetry=${read} />
      ${model ? html`<${Details} model=${model} />` : !error && html`<p class="quiet">Reading its details…</p>`}
    <//>`;
}

function Details({ model }) {
  const { metadata, failure, performance } = model;
  const pairs = [
    ["State", stateWords(model.status)],
    ["Id", model.id],
    ["Aliases", model.aliases.join(", ")],
    ["Name", metadata.name],
    ["Architecture", metadata.model_type],
    ["Parameters", parameters(metadata.parameter_count)],
    ["Quantisation", metadata.file_type_name],
    ["Size", model.size ? bytes(model.size) : ""],
    ["Training context", metadata.parameters.context_length && `${integer(metadata.parameters.context_length)} tokens`],
    ["Layers", metadata.parameters.block_count && integer(metadata.parameters.block_count)],
    ["Can do", model.capabilities.join(", ")],
    ["Changed", model.size ? dateTime(model.modified) : ""],
    ["Tokens so far", performance.tokens_processed ? integer(performance.tokens_processed) : ""],
    ["Mean speed", performance.average_speed ? `${rate(performance.average_speed)} tokens per second` : ""],
  ];
  return html`
    ${failure && html`<${Failure} ...${failure} />`}
    <dl class="pairs">${pairs.filter(([, value]) => value).map(([name, value]) => html`<${Pair} key=${name} name=${name} value=${value} />`)}</dl>
    ${isInMemory(model.status) && html`<${Effective} reply=${model} />`}`;
}
