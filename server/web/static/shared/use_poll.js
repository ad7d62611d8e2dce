// Repeats a request while a component is shown and the browser's tab is visible.
import { useEffect } from "../core/html.js";

/**
 * Call `action` now and then every `milliseconds`, never two at once, until the component is gone.
 * @param {(signal: AbortSignal) => Promise<void>} action handles its own errors
 * @param {number} milliseconds 0 stops
 */
export function usePoll(action, milliseconds) {
  useEffect(() => {
    if (!milliseconds) return undefined;
    const control = new AbortController();
    let timer = 0;
    const run = async () => {
      if (!document.hidden) await action(control.signal);
      if (!control.signal.aborted) timer = setTimeout(run, milliseconds);
    };
    run();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [milliseconds]);
}
