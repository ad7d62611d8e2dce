// The load of each model in memory: requests, tokens per second, KV cells.
import { html } from "../core/html.js";
import { link } from "../core/router.js";
import { bytes, integer, rate } from "../shared/format.js";
import { shortName, stateWords } from "../shared/model_words.js";
import { Tile } from "./sparkline.js";

/** @param {{samples: import("./samples.js").Sample[]}} props */
export function ModelTiles({ samples }) {
  const now = samples.at(-1).document.models;
  if (!now.length) {
    return html`<p class="quiet">None. A model is loaded by its first request, or in <a href=${link("models")}>Models</a>.</p>`;
  }
  return now.map((model) => html`<${OneModel} key=${model.model} model=${model} samples=${samples} />`);
}

function OneModel({ model, samples }) {
  const figures = samples.map((sample) => sample.document.models.find((one) => one.model === model.model));
  const rates = samples.map((sample) => sample.rates.get(model.model));
  const series = (name) => figures.map((one) => one?.[name] ?? null);
  const speed = (name) => rates.map((one) => one?.[name] ?? null);
  const latest = rates.at(-1) || { generated: 0, prompt: 0 };
  const waiting = model.waiting ?? 0;
  return html`
    <section class="model-load" aria-label=${model.model}>
      <h3 title=${model.model}>${shortName(model.model)}
        ${" "}<span class="quiet small number">${stateWords(model.status)}, ${bytes(model.memory_bytes)}</span></h3>
      <div class="tiles">
        <${Tile} title="Requests" value=${`${model.running ?? 0} running`} top=${model.n_parallel}
          note=${`${integer(waiting)} waiting, ${integer(model.n_parallel)} at once`} values=${series("running")} />
        <${Tile} title="Generated" value=${`${rate(latest.generated)} tokens/s`}
          note=${`${integer(model.generated_tokens_total)} since the start`} values=${speed("generated")} />
        <${Tile} title="Prompts" value=${`${rate(latest.prompt)} tokens/s`}
          note=${`${integer(model.prompt_tokens_total)} since the start`} values=${speed("prompt")} />
        <${Tile} title="KV cells" value=${model.kv_cells ? `${Math.round((100 * model.kv_cells_used) / model.kv_cells)} %` : "unknown"}
          top=${model.kv_cells || 1} note=${model.kv_cells ? `${integer(model.kv_cells_used)} of ${integer(model.kv_cells)}` : ""}
          values=${series("kv_cells_used")} />
      </div>
    </section>`;
}
