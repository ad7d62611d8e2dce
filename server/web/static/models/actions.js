// Requests that change a model: load, unload, pin, delete.
import { errorOfEvent, get, modelPath, post, request, stream } from "../core/api.js";
import { refreshModels } from "../core/events.js";

/**
 * Load a model and wait for the end.
 * @param {string} id
 * @param {object} body settings as in docs/loading.md
 * @param {() => void} onBegun called once the server has begun
 * @returns {Promise<object>} the answer of the load
 * @throws {ApiError}
 */
export async function load(id, body, onBegun) {
  let last = null;
  for await (const event of stream("POST", modelPath(id, "/load?stream=true"), { body })) {
    last = event;
    onBegun();
  }
  if (last?.error) throw errorOfEvent(last);
  readRetention();
  return last;
}

/** Unload a model, or cancel its load; `force` cuts running answers off. */
export function unload(id, { force = false } = {}) {
  return post(modelPath(id, "/unload"), { force });
}

/** Cancel a load that this page has requested; `begun` waits until the server has begun with it, or refused it. */
export async function cancelLoad(id, begun) {
  try {
    await unload(id);
  } catch (error) {
    if (error.code !== "model_not_loaded") throw error;
    // The request for the load arrives after this one, or it has just failed.
    await begun;
    await unload(id).catch((again) => {
      if (again.code !== "model_not_loaded") throw again;
    });
  }
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
