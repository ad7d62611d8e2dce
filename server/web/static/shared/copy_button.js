// Copies a text; says for a moment that it did.
import { html, useEffect, useState } from "../core/html.js";
import { Icon } from "./icon.js";

const SHOWN_MS = 1500;

/** @param {{text: string, label: string}} props `label` says what is copied, such as "Copy the curl command" */
export function CopyButton({ text, label }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(""), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => setSaid((await copyText(text)) ? "Copied" : "Select the text to copy it");
  return html`
    <span class="copy">
      <span class="quiet small" role="status">${said}</span>
      <button type="button" class="icon" aria-label=${label} title=${label} onClick=${copy}><${Icon} name=${said === "Copied" ? "check" : "copy"} /></button>
    </span>`;
}

/** Copy a text; false if the browser does not allow it. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Browsers offer the clipboard only on https and localhost; a server in the local network has neither. */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") || document.body).append(area);
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    focused?.focus();
  }
}
