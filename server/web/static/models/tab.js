// The Models tab: every model on disk, its state, and what can be done with it.
import { connection, models, refreshModels } from "../core/events.js";
import { html, useEffect, useState, useValue } from "../core/html.js";
import { go, link } from "../core/router.js";
import { Icon } from "../shared/icon.js";
import { plural } from "../shared/format.js";
import { DetailsDialog } from "./details_dialog.js";
import { LoadDialog } from "./load_dialog.js";
import { ModelTable } from "./table.js";

/** @param {{rest: string}} props `rest` is the model whose load dialog is open */
export function Tab({ rest }) {
  const all = useValue(models);
  const state = useValue(connection);
  const [filter, setFilter] = useState("");
  const [details, setDetails] = useState("");
  useEffect(() => {
    // The list is read from disk: files that were copied into the folder since appear now.
    refreshModels().catch(() => {});
  }, []);
  const closeLoad = () => go("models", "", { replace: true });
  // By name, not by state: a row stays where it is while its model loads.
  const list = all && [...all.values()].filter((model) => model.id.toLowerCase().includes(filter.toLowerCase().trim())).sort((a, b) => a.id.localeCompare(b.id));
  return html`
    <div class="page models-tab">
      <header class="tab-head">
        <h1>Models</h1>
        ${all?.size > 8 && html`
          <input type="search" class="filter" placeholder="Filter" aria-label="Filter models" value=${filter} onInput=${(event) => setFilter(event.target.value)} />`}
        <a class="button" href=${link("get")}><${Icon} name="download" /> Get models</a>
      </header>
      ${!all && html`<p class="quiet" role="status">${state === "offline" ? "The server does not answer; this page tries again." : "Reading the list of models…"}</p>`}
      ${all && all.size === 0 && html`<${NoModels} />`}
      ${list?.length > 0 && html`<${ModelTable} list=${list} onLoad=${(id) => go("models", id)} onDetails=${setDetails} />`}
      ${all?.size > 0 && list.length === 0 && html`<p class="quiet" role="status">None of ${plural(all.size, "model")} has “${filter}” in its name.</p>`}
      ${rest && all && !all.has(rest) && html`<p class="notice" role="status">The server has no model “${rest}”.</p>`}
      ${rest && all?.has(rest) && html`<${LoadDialog} key=${rest} id=${rest} onClose=${closeLoad} />`}
      ${details && all?.has(details) && html`<${DetailsDialog} key=${details} id=${details} onClose=${() => setDetails("")} />`}
    </div>`;
}

function NoModels() {
  return html`
    <div class="empty">
      <h2>There is no model yet</h2>
      <p>Find one in <a href=${link("get")}>Get models</a>, or copy a GGUF file into the server's models folder
        (<code>--models-dir</code>; <code>models/</code> where the server was started). It appears here when you open this tab again.</p>
    </div>`;
}
