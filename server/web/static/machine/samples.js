// The last two minutes of the machine's figures, from GET /api/v2/metrics.
import { get } from "../core/api.js";
import { signal } from "../core/html.js";

export const PERIOD_MS = 2000;
export const COUNT = 60;
// After a longer pause, for example on another tab, old figures would look like new ones.
const MAX_GAP_MS = 10000;

/**
 * @typedef {object} Sample
 * @property {number} at milliseconds
 * @property {object} document of GET /api/v2/metrics
 * @property {Map<string, {generated: number, prompt: number}>} rates tokens per second by model
 */

/** The latest samples, the newest last. @type {{value: Sample[]}} */
export const samples = signal([]);

/** Take one sample. @throws {ApiError} */
export async function sample(abort) {
  const document = await get("api/v2/metrics", { signal: abort });
  const at = performance.now();
  const before = samples.peek().at(-1);
  const isGap = !before || at - before.at > MAX_GAP_MS;
  const rates = isGap ? new Map() : ratesOf(before, document, at);
  samples.value = [...(isGap ? [] : samples.peek()), { at, document, rates }].slice(-COUNT);
}

/** Tokens per second since the sample before: what was computed in that time, 0 while idle. */
function ratesOf(before, document, at) {
  const seconds = (at - before.at) / 1000;
  const totals = new Map(before.document.models.map((model) => [model.model, model]));
  return new Map(
    document.models.flatMap((model) => {
      const last = totals.get(model.model);
      if (!last) return [];
      const rate = (name) => Math.max(0, (model[name] - last[name]) / seconds);
      return [[model.model, { generated: rate("generated_tokens_total"), prompt: rate("prompt_tokens_total") }]];
    }),
  );
}
