// The settings of a load that the form offers (docs/loading.md has all), and the request body made from them.

/**
 * @typedef {object} Field
 * @property {string} name as in the API
 * @property {string} label
 * @property {string} help
 * @property {string} [empty] what an empty field means, "automatic" by default
 * @property {"integer"|"number"|"choice"} kind
 * @property {number} [min]
 * @property {number} [max]
 * @property {string} [unit]
 * @property {[string, string][]} [choices] value and words
 * @property {boolean} [generation] only for models that generate text
 * @property {boolean} [gpu] only on machines with a GPU
 */

const CACHE_TYPES = ["f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "bf16", "f32"].map((type) => [type, type]);
const SWITCH = [["true", "on"], ["false", "off"]];

/** @type {Field[]} */
export const MAIN_FIELDS = [
  { name: "n_ctx", label: "Context size", unit: "tokens", kind: "integer", min: 0, max: 16777216, help: "Shared by all requests. Empty: the training context, or less if that takes over half of the free memory." },
  { name: "n_parallel", label: "Requests at once", kind: "integer", min: 1, max: 256, empty: "16, for embeddings 64", help: "Further requests wait." },
  { name: "n_gpu_layers", label: "Layers on the GPU", kind: "integer", min: -1, max: 65535, gpu: true, help: "-1 is all. Empty: as many as fit." },
  { name: "cache_type_k", label: "Cache type of keys", kind: "choice", choices: CACHE_TYPES, empty: "f16", help: "q8_0 halves the cache." },
  { name: "cache_type_v", label: "Cache type of values", kind: "choice", choices: CACHE_TYPES, empty: "f16", help: "Quantised types need flash attention." },
  { name: "ttl", label: "Unload when idle for", unit: "seconds", kind: "number", min: -1, max: 31536000, empty: "the server's --ttl", help: "-1 is never." },
  { name: "pinned", label: "Keep it loaded", kind: "choice", choices: SWITCH, empty: "off", help: "Never unloaded for being idle or for another model." },
];

/** @type {Field[]} */
export const MORE_FIELDS = [
  { name: "flash_attn", label: "Flash attention", kind: "choice", choices: [["on", "on"], ["off", "off"]], help: "Automatic: where the model supports it." },
  { name: "kv_unified", label: "One cache for all requests", kind: "choice", choices: SWITCH, empty: "on", generation: true, help: "Off: each request has an equal part." },
  { name: "n_batch", label: "Tokens in a step", kind: "integer", min: 1, max: 65536, empty: "2048", generation: true, help: "The maximum number of tokens in one step." },
  { name: "n_ubatch", label: "Tokens computed at once", kind: "integer", min: 1, max: 65536, empty: "512", help: "Not more than the tokens in a step." },
  { name: "threads", label: "Threads", kind: "integer", min: -1, max: 1024, help: "Empty: the server measures which number is fastest." },
  { name: "cache_ram", label: "Memory for saved prompts", unit: "MiB", kind: "integer", min: -1, max: 16777216, generation: true, help: "Host memory. -1 is no limit, 0 is off." },
  {
    name: "load_mode", label: "How weights are read", kind: "choice", help: "Automatic maps the file.",
    choices: ["none", "mmap", "mlock", "mmap+mlock", "dio"].map((mode) => [mode, mode]),
  },
  { name: "context_shift", label: "Go on when the context is full", kind: "choice", choices: SWITCH, empty: "off", generation: true, help: "Drops the oldest half of the tokens." },
  { name: "deterministic", label: "Reproducible answers", kind: "choice", choices: SWITCH, empty: "off", generation: true, help: "The same probabilities, bit for bit, whatever other requests run; prompts are slower." },
];

const FIELDS = new Map([...MAIN_FIELDS, ...MORE_FIELDS].map((field) => [field.name, field]));

/** The fields of the form for a model; embedding models have no use for some. */
export function fieldsFor(fields, { isEmbedding, hasGpu }) {
  return fields.filter((field) => !(field.generation && isEmbedding) && !(field.gpu && !hasGpu));
}

/**
 * What the form shows for settings of an earlier load: texts of its fields, the rest as JSON.
 * @returns {{values: Record<string, string>, others: string}}
 */
export function formOf(settings) {
  const values = {};
  const others = {};
  for (const [name, value] of Object.entries(settings || {})) {
    if (FIELDS.has(name)) values[name] = String(value);
    else others[name] = value;
  }
  return { values, others: Object.keys(others).length ? JSON.stringify(others, null, 2) : "" };
}

/**
 * The body of a load, or what is wrong with the form.
 * @returns {{body: object|null, problem: {name: string, message: string}|null}}
 */
export function bodyOf(values, others) {
  const body = {};
  for (const [name, text] of Object.entries(values)) {
    if (text === "") continue;
    const value = valueOf(FIELDS.get(name), text);
    if (value === null) return { body: null, problem: { name, message: rangeOf(FIELDS.get(name)) } };
    body[name] = value;
  }
  if (!others.trim()) return { body, problem: null };
  try {
    const more = JSON.parse(others);
    if (more && typeof more === "object" && !Array.isArray(more)) return { body: { ...more, ...body }, problem: null };
  } catch {
    // Reported below, as for JSON that is not an object.
  }
  return { body: null, problem: { name: "others", message: 'Expected a JSON object, such as {"rope_scaling": "yarn"}.' } };
}

function valueOf(field, text) {
  if (field.kind === "choice") return text === "true" ? true : text === "false" ? false : text;
  const number = Number(text);
  const isRight = field.kind === "number" ? Number.isFinite(number) : Number.isInteger(number);
  return isRight && number >= field.min && number <= field.max ? number : null;
}

function rangeOf(field) {
  return `Expected a ${field.kind === "integer" ? "whole " : ""}number from ${field.min} to ${field.max.toLocaleString("en")}.`;
}
