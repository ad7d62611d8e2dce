// Preact with htm, signals, and the hook that connects them. All other modules import from here.
//
// htm's "standalone" build contains Preact and its hooks without imports by bare name. Builds with
// such imports need an import map, which is an inline script that the page's policy does not allow.
import { useLayoutEffect, useReducer, useRef } from "../vendor/htm/standalone.module.js";
import { effect } from "../vendor/signals-core/signals-core.module.js";

export {
  Component, createContext, h, html, render, useCallback, useContext, useEffect, useErrorBoundary,
  useLayoutEffect, useMemo, useReducer, useRef, useState,
} from "../vendor/htm/standalone.module.js";
export { batch, computed, effect, signal, untracked } from "../vendor/signals-core/signals-core.module.js";

/**
 * The value of a signal; the component is drawn again when it changes.
 * @template T
 * @param {{value: T, peek(): T}} source
 * @returns {T}
 */
export function useValue(source) {
  const [, redraw] = useReducer((count) => count + 1, 0);
  const drawn = useRef(undefined);
  drawn.current = source.peek();
  useLayoutEffect(
    () => effect(() => {
      if (source.value !== drawn.current) redraw();
    }),
    [source],
  );
  return drawn.current;
}
