// Copying to the clipboard, also where the browser's clipboard API is missing: on http it exists for localhost only.
import { html, useState } from "../core/html.js";
import { Icon } from "./icon.js";

const SHOWN_MS = 1500;

/** @returns {Promise<boolean>} whether it worked */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  const focused = document.activeElement;
  // All outside of an open dialog is inert.
  (document.querySelector("dialog[open]") || document.body).append(field);
  field.select();
  const worked = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return worked;
}

/** A button that copies `text()`. */
export function CopyButton({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    setDone(await copyText(text()));
    setTimeout(() => setDone(false), SHOWN_MS);
  };
  return html`
    <button type="button" class="icon" aria-label=${done ? "Copied" : label} title=${label} onClick=${copy}>
      <${Icon} name=${done ? "check" : "copy"} />
    </button>`;
}
