// A modal dialog: the browser keeps the focus in it, Escape closes it, and the focus goes back.
import { html, useLayoutEffect, useRef } from "../core/html.js";
import { Icon } from "./icon.js";

/**
 * @param {{title: string, onClose: () => void, children: any, kind?: string}} props
 *   `kind` is a class for its size: "small" or ""
 */
export function Dialog({ title, onClose, children, kind = "" }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    const opener = document.activeElement;
    element.current.showModal();
    // The opener may be gone, for example the row of a model that was deleted.
    return () => (opener?.isConnected ? opener : document.getElementById("main"))?.focus();
  }, []);
  return html`
    <dialog ref=${element} class="modal ${kind}" aria-label=${title} onClose=${onClose}>
      <header class="modal-head">
        <h2>${title}</h2>
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
    <${Dialog} title=${title} kind="small" onClose=${onClose}>
      ${children}
      <div class="actions">
        <button type="button" autofocus onClick=${onClose}>Keep it</button>
        <button type="button" class="danger" disabled=${busy} onClick=${onConfirm}>${action}</button>
      </div>
    <//>`;
}
