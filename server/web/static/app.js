// The page's entry: draws the shell and follows the server's events.
import { html, render } from "./core/html.js";
import { followEvents } from "./core/events.js";
import { Shell } from "./core/shell.js";

render(html`<${Shell} />`, document.getElementById("app"));
followEvents();
