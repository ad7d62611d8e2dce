// The memory that a load would take, requested again whenever its settings change.
import { modelPath, post } from "../core/api.js";
import { useEffect, useState } from "../core/html.js";

const DELAY_MS = 300;

/**
 * The estimate of a load. While a newer one is computed the last one stays, marked as old.
 * @param {string} id of the model
 * @param {string|null} body the settings as JSON; null while the form is not valid
 * @param {string} others changes when other models are loaded or unloaded: a new estimate is requested then
 * @returns {{document: object|null, error: object|null, isOld: boolean}}
 */
export function useEstimate(id, body, others) {
  const [state, setState] = useState({ document: null, error: null, isOld: true });
  useEffect(() => {
    setState((before) => ({ ...before, isOld: true }));
    if (body === null) return undefined;
    // Ends a request whose answer would be out of date.
    const control = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const document = await post(modelPath(id, "/estimate"), JSON.parse(body), { signal: control.signal });
        if (!control.signal.aborted) setState({ document, error: null, isOld: false });
      } catch (error) {
        if (!control.signal.aborted) setState({ document: null, error, isOld: false });
      }
    }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [id, body, others]);
  return state;
}

/**
 * The parts of a device's bar in bytes. The model's own memory counts as free: a reload returns it.
 * @param {object} device of an estimate's `memory`
 * @param {number} own bytes that the model holds on the device now
 */
export function partsOf(device, own) {
  const known = device.total_bytes !== null && device.free_bytes !== null;
  const free = known ? Math.min(device.total_bytes, device.free_bytes + own) : 0;
  const used = known ? device.total_bytes - free : 0;
  const needed = device.used_bytes;
  return {
    known, used, free, needed,
    total: known ? device.total_bytes : needed,
    lacking: known ? Math.max(0, needed - free) : 0,
    weights: device.model_bytes,
    context: device.context_bytes,
    buffers: device.compute_bytes,
  };
}
