// Focus for a view that takes the place of another: the button that led to it is gone.
import { useEffect, useRef } from "../core/html.js";

/** A ref whose element gets the focus when it is drawn first. */
export function useFocus() {
  const element = useRef(null);
  useEffect(() => element.current?.focus({ preventScroll: true }), []);
  return element;
}
