// Loads a model: its settings, the memory they would take, the progress, and the result.
import { get, modelPath } from "../core/api.js";
import { models } from "../core/events.js";
import { html, useEffect, useRef, useState, useValue } from "../core/html.js";
import { Dialog } from "../shared/dialog.js";
import { Failure, Warnings } from "../shared/failure.js";
import { isInMemory, isLoading, shortName } from "../shared/model_words.js";
import { RequestError } from "../shared/request_error.js";
import { load } from "./actions.js";
import { useEstimate } from "./estimate.js";
import { EstimateBars } from "./estimate_bars.js";
import { MAIN_FIELDS, MORE_FIELDS, bodyOf, fieldsFor, formOf } from "./load_fields.js";
import { LoadFields } from "./load_form.js";
import { LoadProgress } from "./load_progress.js";
import { LoadResult } from "./load_result.js";

/** @param {{id: string, onClose: () => void}} props */
export function LoadDialog({ id, onClose }) {
  const [model, setModel] = useState(null);
  const [problem, setProblem] = useState(null);
  const read = () => {
    setProblem(null);
    get(modelPath(id)).then(setModel, setProblem);
  };
  useEffect(read, [id]);
  return html`
    <${Dialog} title=${`Load ${shortName(id)}`} onClose=${onClose}>
      <${RequestError} error=${problem} onRetry=${read} />
      ${model && html`<${LoadForm} id=${id} model=${model} onClose=${onClose} />`}
      ${!model && !problem && html`<p class="quiet">Reading its settings…</p>`}
    <//>`;
}

function LoadForm({ id, model, onClose }) {
  const start = useRef(null);
  start.current ??= formOf(model.settings.requested);
  const [values, setValues] = useState(start.current.values);
  const [others, setOthers] = useState(start.current.others);
  const [run, setRun] = useState({ phase: "form" });
  const [tries, setTries] = useState(0);
  const all = useValue(models);
  const { body, problem: invalid } = bodyOf(values, others);
  const text = body && JSON.stringify(body);
  const estimate = useEstimate(id, run.phase === "form" ? text : null, `${tries} ${memoryHolders(all, id)}`);
  const fault = invalid || paramOf(run.error) || paramOf(estimate.error);
  const change = (name, value) => {
    setRun({ phase: "form" });
    setValues((before) => ({ ...before, [name]: value }));
  };
  const changeOthers = (event) => {
    setRun({ phase: "form" });
    setOthers(event.target.value);
  };
  // An error that names a field of the form is shown at that field.
  const failed = run.error && !paramOf(run.error);
  const submit = async (event) => {
    event?.preventDefault();
    if (text === null) return;
    let onBegun;
    const begun = new Promise((resolve) => {
      onBegun = resolve;
    });
    setRun({ phase: "loading", begun });
    setRun(await load(id, body, onBegun).then(
      (reply) => ({ phase: "done", reply }),
      (error) => ({ phase: "form", error }),
    ));
    onBegun();
  };
  if (run.phase === "loading") return html`<${LoadProgress} id=${id} begun=${run.begun} onClose=${onClose} />`;
  if (run.phase === "done") return html`<${LoadResult} id=${id} reply=${run.reply} onClose=${onClose} />`;
  const kind = { isEmbedding: isEmbedding(model), hasGpu: (estimate.document?.memory || []).some((device) => device.kind === "gpu") };
  const shared = { values, defaults: model.settings.defaults, problem: fault, trained: model.metadata.parameters.context_length || 0, onChange: change };
  return html`
    <form class="load-form" onSubmit=${submit} novalidate>
      ${isInMemory(model.status) && html`<p class="notice">It is loaded. With other settings it is loaded again once its running answers have ended.</p>`}
      <${LoadFields} fields=${fieldsFor(MAIN_FIELDS, kind)} ...${shared} />
      <details class="more">
        <summary>More settings</summary>
        <${LoadFields} fields=${fieldsFor(MORE_FIELDS, kind)} ...${shared} />
        <div class="field">
          <label for="load-others">All other settings, as JSON</label>
          <textarea id="load-others" rows="3" spellcheck="false" value=${others} aria-describedby="help-others"
            placeholder='{"rope_scaling": "yarn"}' onInput=${changeOthers}></textarea>
          <small id="help-others" class=${fault?.name === "others" ? "error" : "quiet"}>
            ${fault?.name === "others" ? fault.message : html`With their names in <a href="docs" target="_blank" rel="noreferrer">the API's description</a>.`}
          </small>
        </div>
      </details>
      <${Warnings} list=${failed ? null : estimate.document?.warnings} />
      <div class="foot ${failed ? "still" : ""}">
        ${failed
          ? html`<${LoadError} error=${run.error} />`
          : estimate.error && !paramOf(estimate.error)
            ? html`<${RequestError} error=${estimate.error} onRetry=${() => setTries(tries + 1)} />`
            : html`<${EstimateBars} estimate=${estimate} own=${ownMemory(model)} />`}
        <div class="actions">
          <button type="button" onClick=${onClose}>Cancel</button>
          <button type="submit" class="primary" disabled=${text === null}>${isInMemory(model.status) ? "Load again" : "Load"}</button>
        </div>
      </div>
    </form>`;
}

/** Why a load failed; in place of the estimate until a field is changed. */
function LoadError({ error }) {
  const element = useRef(null);
  useEffect(() => element.current.closest(".foot").scrollIntoView({ block: "end" }), [error]);
  const { reason, log } = error.document;
  return html`
    <div ref=${element} role="alert">
      ${reason ? html`<${Failure} reason=${reason} detail=${error.message} log=${log} />` : html`<${RequestError} error=${error} />`}
    </div>`;
}

/** A wrong setting that has a field in the form. */
function paramOf(error) {
  const name = error?.document?.param;
  const isField = [...MAIN_FIELDS, ...MORE_FIELDS].some((field) => field.name === name);
  if (!name || error.status >= 500) return null;
  return isField ? { name, message: error.message } : null;
}

function isEmbedding(model) {
  return model.capabilities.includes("embedding") || model.capabilities.includes("rerank");
}

function ownMemory(model) {
  return new Map((model.memory || []).map((device) => [device.device, device.used_bytes]));
}

/** A text that changes when another model is loaded or unloaded. */
function memoryHolders(all, id) {
  const holders = [...(all?.values() || [])].filter((one) => one.id !== id && (isInMemory(one.status) || isLoading(one.status)));
  return holders.map((one) => `${one.id} ${one.status}`).join("\n");
}
