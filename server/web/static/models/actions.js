// Requests that change a model: load, unload, pin, delete.
import { errorOfEvent, get, modelPath, post, request, stream } from "../core/api.js";
import { refreshModels } from "../core/events.js";

/**
 * Load a model and wait for the end.
 * @param {string} id
 * @param {object} body settings as in docs/loading.md
 * @returns {Promise<object>} the answer of the load
 * @throws {ApiError}
 */
export async function load(id, body) {
  let last = null;
  for await (const event of stream("POST", modelPath(id, "/load?stream=true"), { body })) last = event;
  if (last?.error) throw errorOfEvent(last);
  readRetention();
  return last;
}

/** Unload a model, or cancel its load; `force` cuts running answers off. */
export function unload(id, { force = false } = {}) {
  return post(modelPath(id, "/unload"), { force });
}

/** Pin a loaded model, or unpin it; neither loads it again. */
export async function setPinned(id, pinned) {
  const { settings } = await get(modelPath(id));
  await post(modelPath(id, "/load"), { ...settings.requested, pinned });
  readRetention();
}

/** `ttl` and `pinned` change without an event. */
function readRetention() {
  refreshModels().catch(() => {});
}

/** Delete a model's files from the hub's cache. */
export function remove(id) {
  return request("DELETE", modelPath(id));
}
