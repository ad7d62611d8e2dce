// The fields of the load dialog.
import { html } from "../core/html.js";
import { integer } from "../shared/format.js";

/**
 * @param {{fields: import("./load_fields.js").Field[], values: Record<string, string>, defaults: object,
 *   problem: {name: string, message: string}|null, trained: number, onChange: (name: string, text: string) => void}} props
 *   `defaults` are the server's own settings for the model; `trained` is its training context, or 0
 */
export function LoadFields({ fields, values, defaults, problem, trained, onChange }) {
  return html`
    <div class="fields">
      ${fields.map((field) => html`
        <div class="field" key=${field.name}>
          <label for=${`load-${field.name}`}>${field.label}${field.unit && html` <span class="quiet">in ${field.unit}</span>`}</label>
          <${Control} field=${field} value=${values[field.name] ?? ""} usual=${defaults[field.name]} wrong=${problem?.name === field.name} onChange=${onChange} />
          ${field.name === "n_ctx" && trained > 0 && html`<${ContextSlider} value=${values.n_ctx ?? ""} trained=${trained} onChange=${onChange} />`}
          <small id=${`help-${field.name}`} class=${problem?.name === field.name ? "error" : "quiet"} role=${problem?.name === field.name ? "alert" : null}>
            ${problem?.name === field.name ? problem.message : field.help}
          </small>
        </div>`)}
    </div>`;
}

function Control({ field, value, usual, wrong, onChange }) {
  const shared = {
    id: `load-${field.name}`, value, name: field.name,
    "aria-describedby": `help-${field.name}`, "aria-invalid": wrong ? "true" : null,
    onInput: (event) => onChange(field.name, event.target.value),
  };
  const empty = usual === undefined ? field.empty || "automatic" : `${usual} (this server's setting)`;
  if (field.kind === "choice") {
    return html`
      <select ...${shared}>
        <option value="">${empty}</option>
        ${field.choices.map(([choice, words]) => html`<option key=${choice} value=${choice}>${words}</option>`)}
      </select>`;
  }
  return html`<input ...${shared} type="text" inputmode="numeric" autocomplete="off" placeholder=${empty} />`;
}

/** Powers of two up to the training context; the left end is "automatic". */
function ContextSlider({ value, trained, onChange }) {
  const sizes = contextSizes(trained);
  const chosen = Number(value);
  const position = value === "" ? 0 : chosen === 0 ? sizes.length : 1 + Math.max(0, sizes.findLastIndex((size) => size <= chosen));
  const words = position === 0 ? "automatic" : `${integer(sizes[position - 1])} tokens`;
  const move = (event) => onChange("n_ctx", event.target.value === "0" ? "" : String(sizes[event.target.value - 1]));
  return html`
    <input type="range" min="0" max=${sizes.length} step="1" value=${position} onInput=${move}
      aria-label="Context size" aria-valuetext=${words} />`;
}

/** 512, 1024, ... and the training context itself. */
export function contextSizes(trained) {
  const sizes = [];
  for (let size = 512; size < trained; size *= 2) sizes.push(size);
  return [...sizes, trained];
}
