// The settings of a conversation, and the request's fields that they become.

import { lasting } from "../../core/browser_storage.js";

/**
 * @typedef {object} Field
 * @property {string} name the request's field
 * @property {string} label
 * @property {string} hint
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 */

/** @type {Field[]} */
export const NUMBERS = [
  { name: "temperature", label: "Temperature", hint: "higher is more varied; 0 always takes the likeliest token", min: 0, max: 2, step: 0.05 },
  { name: "max_tokens", label: "Longest answer", hint: "in tokens; -1 is until the model ends it", min: -1, step: 1 },
  { name: "top_p", label: "Top-p", hint: "keep the likeliest tokens up to this total probability", min: 0, max: 1, step: 0.01 },
  { name: "top_k", label: "Top-k", hint: "keep this many of the likeliest tokens; 0 keeps all", min: -1, step: 1 },
  { name: "min_p", label: "Min-p", hint: "drop tokens below this share of the likeliest one's probability", min: 0, max: 1, step: 0.01 },
  { name: "repeat_penalty", label: "Repeat penalty", hint: "above 1 avoids repetition", min: 0.01, step: 0.01 },
  { name: "presence_penalty", label: "Presence penalty", hint: "above 0 favours new tokens", step: 0.1 },
  { name: "frequency_penalty", label: "Frequency penalty", hint: "above 0 avoids frequent tokens", step: 0.1 },
  { name: "seed", label: "Seed", hint: "the same seed gives the same answer; -1 is random", min: -1, step: 1 },
];

/** The choices for reasoning: value, words, and the request's fields. */
export const REASONING = [
  { value: "", label: "The model's default", fields: {} },
  { value: "off", label: "Off", fields: { enable_thinking: false } },
  { value: "low", label: "Low effort", fields: { reasoning_effort: "low" } },
  { value: "medium", label: "Medium effort", fields: { reasoning_effort: "medium" } },
  { value: "high", label: "High effort", fields: { reasoning_effort: "high" } },
];

const DEFAULTS = "llamabind.chat-settings";

/** The settings of new chats. */
export function defaultSettings() {
  try {
    const kept = JSON.parse(lasting.get(DEFAULTS) || "{}");
    return kept && typeof kept === "object" && !Array.isArray(kept) ? kept : {};
  } catch {
    return {};
  }
}

export function keepAsDefault(settings) {
  lasting.set(DEFAULTS, JSON.stringify(settings));
}

/** What is wrong with a JSON text of the settings; "" if nothing is, or if it is empty. */
export function jsonProblem(text, kind) {
  if (!text?.trim()) return "";
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `This is not JSON: ${error.message}.`;
  }
  if (kind === "array") return Array.isArray(value) ? "" : "Expected a JSON array, [ … ].";
  return value && typeof value === "object" && !Array.isArray(value) ? "" : "Expected a JSON object, { … }.";
}

/** The request's fields of these settings. JSON that is not valid is left out; the panel says so. */
export function requestFields(settings) {
  const fields = {};
  for (const { name } of NUMBERS) {
    const text = String(settings[name] ?? "").trim();
    if (text && Number.isFinite(Number(text))) fields[name] = Number(text);
  }
  const stop = (settings.stop || "").split("\n").filter(Boolean);
  if (stop.length) fields.stop = stop;
  Object.assign(fields, REASONING.find((one) => one.value === settings.reasoning)?.fields);
  if (settings.schema?.trim() && !jsonProblem(settings.schema, "object")) {
    fields.response_format = { type: "json_schema", json_schema: { name: "answer", schema: JSON.parse(settings.schema) } };
  }
  if (settings.tools?.trim() && !jsonProblem(settings.tools, "array")) fields.tools = JSON.parse(settings.tools);
  return fields;
}

/** How many settings differ from the model's own. */
export function changedCount(settings) {
  return Object.values(settings).filter((value) => String(value ?? "").trim()).length;
}
