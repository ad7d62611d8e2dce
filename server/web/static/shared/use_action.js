// The state of an action that a button starts: running, or failed.
import { useState } from "../core/html.js";

/**
 * `run(action)` awaits the action; `busy` is true meanwhile. `failed` has the error and the action, to try it again,
 * unless `isOver(error)` says that nothing is left to do.
 */
export function useAction(isOver = () => false) {
  const [failed, setFailed] = useState(null);
  const [busy, setBusy] = useState(false);
  const run = async (action) => {
    setFailed(null);
    setBusy(true);
    try {
      await action();
    } catch (error) {
      if (!isOver(error)) setFailed({ error, action });
    } finally {
      setBusy(false);
    }
  };
  return { run, busy, failed, setFailed };
}
