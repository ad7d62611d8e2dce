// A modal dialog: the browser keeps the focus in it, Escape closes it, and the focus goes back.
import { html, useLayoutEffect, useRef } from "../core/html.js";
import { Icon } from "./icon.js";

/**
 * @param {{title: string, onClose: () => void, children: any, kind?: string, titled?: boolean}} props
 *   `kind` is a class for its size: "small" or ""; `titled` is false if a child has `autofocus` in place of the title
 */
export function Dialog({ title, onClose, children, kind = "", titled = true }) {
  const element = useRef(null);
  const isGone = useRef(false);
  useLayoutEffect(() => {
    const opener = document.activeElement;
    const dialog = element.current;
    dialog.showModal();
    return () => {
      isGone.current = true;
      // All else is inert until it is closed.
      dialog.close();
      // The opener may be gone or drawn anew, for example with the row of a model that was loaded.
      const label = opener?.getAttribute("aria-label");
      const same = label && document.querySelector(`main [aria-label="${CSS.escape(label)}"]`);
      (opener?.isConnected ? opener : same || document.getElementById("main"))?.focus();
    };
  }, []);
  // Closing sends its event later, when another dialog may be open.
  const close = () => isGone.current || onClose();
  return html`
    <dialog ref=${element} class="modal ${kind}" aria-label=${title} onClose=${close}>
      <header class="modal-head">
        <h2 tabindex="-1" autofocus=${titled}>${title}</h2>
        <button type="button" class="icon" aria-label="Close" title="Close" onClick=${onClose}><${Icon} name="close" /></button>
      </header>
      ${children}
    </dialog>`;
}

/**
 * Asks before something is lost.
 * @param {{title: string, action: string, busy?: boolean, onConfirm: () => void, onClose: () => void, children: any}} props
 */
export function Confirm({ title, action, busy = false, onConfirm, onClose, children }) {
  return html`
    <${Dialog} title=${title} kind="small" titled=${false} onClose=${onClose}>
      ${children}
      <div class="actions">
        <button type="button" autofocus onClick=${onClose}>Keep it</button>
        <button type="button" class="danger" disabled=${busy} onClick=${onConfirm}>${action}</button>
      </div>
    <//>`;
}
