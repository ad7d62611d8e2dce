// A short message at the bottom of the page, with an action such as "Undo".
import { html, signal, useEffect, useValue } from "../core/html.js";

const SHOWN_MS = 8000;
const current = signal(null);

/** @param {string} text @param {{label: string, run: () => void}} [action] */
export function toast(text, action) {
  current.value = { text, action };
}

/** Where the message is drawn; once in the shell. */
export function Toast() {
  const shown = useValue(current);
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setTimeout(() => {
      if (current.peek() === shown) current.value = null;
    }, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [shown]);
  const run = () => {
    current.value = null;
    shown.action.run();
  };
  return html`
    <div class="toasts" role="status">
      ${shown && html`
        <div class="toast">
          <span>${shown.text}</span>
          ${shown.action && html`<button type="button" class="plain" onClick=${run}>${shown.action.label}</button>`}
        </div>`}
    </div>`;
}
