// Stands for the tab until it is built.
import { html } from "../core/html.js";

export function Tab() {
  return html`<div class="page"><p class="quiet">This tab is being built.</p></div>`;
}
