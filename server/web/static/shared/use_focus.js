// Focus for a view that replaces another: the button that had the focus is no longer on the page.
import { useEffect, useRef } from "../core/html.js";

/** A ref whose element gets the focus when it is drawn first. */
export function useFocus() {
  const element = useRef(null);
  useEffect(() => element.current?.focus({ preventScroll: true }), []);
  return element;
}
