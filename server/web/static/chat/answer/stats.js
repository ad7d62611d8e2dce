// The figures of an answer: speed, time to the first token, cached tokens.
import { plural } from "../../shared/format.js";

/**
 * @typedef {object} Stats
 * @property {number} [firstTokenMs] from the request to the first text, as the page saw it
 * @property {number} [tokensPerSecond]
 * @property {number} [tokens] of the answer
 * @property {number} [promptTokens]
 * @property {number} [cachedTokens] prompt tokens that were not computed again
 */

export class StatsMeter {
  #began = performance.now();
  #firstMs = 0;

  /** The first text arrived. */
  first() {
    this.#firstMs = performance.now() - this.#began;
  }

  /** @param {object} timings the server's @param {Stats} [before] of the answer's earlier part @returns {Stats} */
  end(timings, before = {}) {
    return {
      ...before,
      firstTokenMs: this.#firstMs,
      tokensPerSecond: timings.predicted_per_second,
      tokens: (before.tokens || 0) + timings.predicted_n,
      promptTokens: timings.prompt_n + timings.cache_n,
      cachedTokens: timings.cache_n,
    };
  }
}

/** Take the server's own counts, which come last. */
export function addUsage(message, usage) {
  message.stats = {
    ...message.stats,
    promptTokens: usage.prompt_tokens,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens || 0,
  };
}

/** @param {Stats} stats @returns {{text: string, title: string}[]} the parts of the line below an answer */
export function describeStats(stats) {
  const parts = [];
  if (stats.tokensPerSecond > 0) parts.push({ text: `${short(stats.tokensPerSecond)} tokens/s`, title: "speed of writing" });
  if (stats.firstTokenMs > 0) parts.push({ text: `first token ${seconds(stats.firstTokenMs)}`, title: "from the request to the first text" });
  if (stats.tokens > 0) parts.push({ text: plural(stats.tokens, "token"), title: "length of the answer" });
  if (stats.promptTokens > 0) {
    parts.push({
      text: `${(stats.cachedTokens || 0).toLocaleString("en")} of ${stats.promptTokens.toLocaleString("en")} prompt tokens cached`,
      title: "prompt tokens that an earlier request had computed",
    });
  }
  return parts;
}

function short(value) {
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

function seconds(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
