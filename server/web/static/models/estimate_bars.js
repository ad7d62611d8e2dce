// The estimate as one bar for each device, and in words: whether it fits, and what would be unloaded.
import { html } from "../core/html.js";
import { bytes, integer } from "../shared/format.js";
import { partsOf } from "./estimate.js";

const LEGEND = [["used", "in use"], ["weights", "weights"], ["context", "context"], ["buffers", "buffers"]];

/** @param {{estimate: {document: object|null, isOld: boolean}, own: Map<string, number>}} props */
export function EstimateBars({ estimate, own }) {
  const { document, isOld } = estimate;
  if (!document) return html`<div class="estimate" aria-busy="true"><p class="quiet">Estimating the memory…</p></div>`;
  const devices = document.memory.filter((device) => device.used_bytes > 0 || device.kind === "gpu");
  return html`
    <div class="estimate ${isOld ? "old" : ""}" aria-busy=${isOld ? "true" : "false"}>
      ${devices.map((device) => html`<${Bar} key=${device.device} device=${device} own=${own.get(device.device) || 0} />`)}
      <p class="legend small quiet" aria-hidden="true">
        ${LEGEND.map(([name, words]) => html`<span key=${name}><i class="swatch ${name}"></i>${words}</span>`)}
      </p>
      <p class="verdict" role="status"><${Verdict} document=${document} /></p>
      <p class="small quiet">${effectWords(document.settings.effective)}</p>
    </div>`;
}

function Bar({ device, own }) {
  const parts = partsOf(device, own);
  const scale = Math.max(parts.total, parts.used + parts.needed) || 1;
  const name = device.kind === "host" ? "Host memory" : device.device;
  let at = 0;
  const segments = LEGEND.map(([kind]) => {
    const x = at;
    // A small part stays visible beside a large memory.
    at += parts[kind] ? Math.max(0.5, (parts[kind] / scale) * 100) : 0;
    return html`<rect key=${kind} class=${kind} x=${x} y="0" width=${at - x} height="10" />`;
  });
  const limit = (parts.total / scale) * 100;
  return html`
    <div class="device">
      <div class="device-head">
        <strong>${name}</strong>
        <span class="number" title=${parts.known ? `${bytes(parts.total)} in all` : null}>needs ${bytes(parts.needed)}${parts.known ? ` of ${bytes(parts.free)} free` : ""}</span>
      </div>
      <svg class="meter" viewBox="0 0 100 10" preserveAspectRatio="none" role="img"
        aria-label=${`${name}: weights ${bytes(parts.weights)}, context ${bytes(parts.context)}, buffers ${bytes(parts.buffers)}`}>
        ${segments}
        ${parts.lacking > 0 && html`<rect class="lacking" x=${Math.max(0, at - (parts.lacking / scale) * 100)} y="0" width=${(parts.lacking / scale) * 100} height="10" />`}
        ${limit < 100 && html`<rect class="limit" x=${limit - 0.4} y="0" width="0.8" height="10" />`}
      </svg>
    </div>`;
}

function Verdict({ document }) {
  if (!document.fits) return html`<span class="error">${lackWords(document)}</span>`;
  if (document.evicts.length) return html`<span class="warn-text">Fits after unloading ${names(document.evicts)}, which ${document.evicts.length === 1 ? "is" : "are"} idle.</span>`;
  if (document.waits_for.length) return html`<span class="warn-text">Waits for the memory of ${names(document.waits_for)} until the running answers end.</span>`;
  return html`<span class="good">It fits.</span>`;
}

function lackWords(document) {
  if (document.devices.some((device) => device.name === "models")) {
    return "It cannot be loaded: --models-max is reached, and all loaded models are pinned. Unload one first.";
  }
  const lacks = document.devices.map(
    (device) =>
      `${device.name === "host" ? "host memory" : device.name} (needs ${bytes(device.needed_bytes)}, ` +
      `at most ${bytes(device.available_bytes)} can be used after unloading other models)`,
  );
  return `It does not fit: not enough ${lacks.join(" and ") || "memory"}.`;
}

function effectWords({ n_ctx: context, n_gpu_layers: layers }) {
  return `Context of ${integer(context)} tokens${layers > 0 ? `, ${integer(layers)} layers on the GPU` : ""}.`;
}

function names(ids) {
  return ids.join(", ");
}
