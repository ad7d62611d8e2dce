// Which model answers, and what is known about it.
import { get, modelPath } from "../core/api.js";
import { lasting } from "../core/browser_storage.js";
import { models } from "../core/events.js";
import { html, signal, useEffect, useValue } from "../core/html.js";
import { isInMemory, shortName, stateWords } from "../shared/model_words.js";

const LAST = "llamabind.model";
const BUNDLED = "tiny-chat.gguf";

/** Effective settings of loaded models by id: sampling, vision, audio, n_ctx. */
const facts = signal(new Map());

/**
 * The model for a new chat: a loaded one, if possible the one chosen last; else the one chosen last; else one that is not
 * the bundled model and did not fail; else the first. "" if no model can chat.
 */
export function defaultModel() {
  const usable = [...(models.peek() || new Map()).values()].filter(canChat);
  const last = lasting.get(LAST);
  const loaded = usable.filter((one) => one.status === "loaded");
  const choice =
    loaded.find((one) => one.id === last) || loaded[0] ||
    usable.find((one) => one.id === last) || (usable.length > 1 && usable.find((one) => one.id !== BUNDLED && one.status !== "failed")) || usable[0];
  return choice?.id || "";
}

/** Whether a model writes text; embedding models and rerankers do not. */
function canChat(model) {
  return model.status !== "broken" && (!model.capabilities || model.capabilities.includes("completion"));
}

/** Keep a choice for the next new chat. */
export function rememberModel(id) {
  lasting.set(LAST, id);
}

let wanted = "";

/** The next chat without messages is with this model, also if there is one with another model already. */
export function chatWith(id) {
  rememberModel(id);
  wanted = id;
}

/** The model of chatWith(), once; "" if there is none. */
export function takeWanted() {
  const id = wanted;
  wanted = "";
  return id;
}

/** The effective settings of a model, null while it is not loaded. */
export function useFacts(id) {
  const known = useValue(facts).get(id) || null;
  const isLoaded = useValue(models)?.get(id)?.status === "loaded";
  useEffect(() => {
    if (!isLoaded) return;
    get(modelPath(id)).then(
      (model) => {
        facts.value = new Map(facts.peek()).set(id, model.settings.effective);
      },
      () => {}, // The page works without these settings.
    );
  }, [id, isLoaded]);
  return known;
}

/** The choice of the model, with its state. */
export function ModelPicker({ model, onChoose }) {
  const all = [...(useValue(models) || new Map()).values()];
  const now = all.find((one) => one.id === model);
  const groups = [
    ["In memory", all.filter((one) => canChat(one) && isInMemory(one.status))],
    ["On disk", all.filter((one) => canChat(one) && !isInMemory(one.status))],
    ["Cannot chat", all.filter((one) => !canChat(one))],
  ].filter(([, members]) => members.length);
  const choose = (event) => onChoose(event.target.value);
  return html`
    <div class="model-picker">
      <select aria-label="Model" value=${model} onChange=${choose}>
        ${!now && html`<option value=${model} disabled>${model ? `${shortName(model)} (not here)` : "no model"}</option>`}
        ${groups.map(([title, members]) => html`
          <optgroup key=${title} label=${title}>
            ${members.map((one) => html`
              <option key=${one.id} value=${one.id} disabled=${!canChat(one)}>${one.id.replace(/\.gguf$/i, "")}</option>`)}
          </optgroup>`)}
      </select>
      ${now && html`<${ModelState} model=${now} />`}
    </div>`;
}

function ModelState({ model }) {
  const { status, progress } = model;
  const kind = { loaded: "good", failed: "error", broken: "error" }[status] || "";
  const words = status === "loading" && progress > 0 ? `Loading, ${Math.round(progress * 100)} %` : stateWords(status);
  return html`<span class="model-state ${kind}" title=${model.detail || null}><span class="dot" aria-hidden="true"></span>${words}</span>`;
}
