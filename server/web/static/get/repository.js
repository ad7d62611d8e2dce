// The models of one repository on the hub: size, whether it fits, download.
import { get } from "../core/api.js";
import { onEvent } from "../core/events.js";
import { html, useEffect, useRef, useState, useValue } from "../core/html.js";
import { link } from "../core/router.js";
import { bytes, plural } from "../shared/format.js";
import { Icon } from "../shared/icon.js";
import { RequestError } from "../shared/request_error.js";
import { downloadOf, downloads, isActive, isDeletion, start } from "./downloads.js";
import { FIT_HELP, fitWords, hubAdvice } from "./hub_words.js";

/** Real repositories have a few dozen files; drawing thousands takes seconds. */
const PAGE = 200;

/** @param {{repo: string, onBack: (() => void)|null}} props */
export function Repository({ repo, onBack }) {
  const [found, setFound] = useState(null);
  const [failed, setFailed] = useState(null);
  const [shown, setShown] = useState(PAGE);
  const reading = useRef(null);
  const read = () => {
    // Ends the request before: its answer may come last.
    reading.current?.abort();
    const control = new AbortController();
    reading.current = control;
    setFailed(null);
    setFound(null);
    get(`api/v2/hub/models/${repo.split("/").map(encodeURIComponent).join("/")}`, { signal: control.signal })
      .then(setFound)
      .catch((error) => control.signal.aborted || setFailed(error));
    return () => reading.current.abort();
  };
  useEffect(read, [repo]);
  useEffect(() => onEvent((event) => isDeletion(event) && read()), [repo]);
  return html`
    <section class="repository" aria-label=${repo} aria-busy=${!found && !failed ? "true" : "false"}>
      <div class="repository-head">
        ${onBack && html`<button type="button" class="plain" onClick=${onBack}><${Icon} name="chevronLeft" /> Results</button>`}
        <h2 class="sentence">${repo}</h2>
        ${found?.gated && html`<span class="pill warn" title=${hubAdvice("hub_gated")}>gated</span>`}
      </div>
      ${!found && !failed && html`<p class="quiet" role="status">Asking the hub…</p>`}
      <${RequestError} error=${failed} advice=${failed && hubAdvice(failed.code)} onRetry=${read} />
      ${found && found.files.length === 0 && html`<p class="quiet">This repository has no GGUF model. Look for one whose name ends with “GGUF”.</p>`}
      ${found?.files.length > 0 && html`
        <table class="models files">
          <thead><tr><th scope="col">File</th><th scope="col">Quantisation</th><th scope="col" class="right">Size</th><th scope="col"><abbr title=${FIT_HELP}>Memory</abbr></th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
          <tbody>${found.files.slice(0, shown).map((file) => html`<${File} key=${file.file} repo=${repo} file=${file} />`)}</tbody>
        </table>
        ${found.files.length > shown && html`<button type="button" class="plain" onClick=${() => setShown(shown + PAGE)}>Show more: ${plural(found.files.length - shown, "file")} left</button>`}`}
    </section>`;
}

function File({ repo, file }) {
  const download = downloadOf(useValue(downloads), repo, file.file);
  const [failed, setFailed] = useState(null);
  const [busy, setBusy] = useState(false);
  const begin = async () => {
    setFailed(null);
    setBusy(true);
    await start(file.model, file.file).catch(setFailed);
    setBusy(false);
  };
  const fit = fitWords(file.fits);
  const parts = [file.n_shards > 1 && plural(file.n_shards, "shard"), file.mmproj && "with projector"].filter(Boolean).join(", ");
  const isThere = download ? download.state === "completed" : file.downloaded;
  return html`
    <tr data-file=${file.file}>
      <th scope="row" class="sentence">${file.file}${parts && html`<span class="quiet small">${parts}</span>`}</th>
      <td data-label="Quantisation">${file.quantisation || "unknown"}${file.default && html` <span class="pill accent" title="Downloaded if a name has no quantisation">default</span>`}</td>
      <td data-label="Size" class="right number">${bytes(file.bytes)}</td>
      <td data-label="Memory">${fit ? html`<span class=${fit[0]} title=${FIT_HELP}>${fit[1]}</span>` : html`<span class="quiet">unknown</span>`}</td>
      <td class="row-actions">
        <div class="buttons">
          ${isThere && html`<span class="good">Downloaded</span>`}
          ${isThere && html`<a class="button" href=${link("models", download?.model_id || "")}>${download?.model_id ? "Load" : "Models"}</a>`}
          ${!isThere && download && isActive(download) && html`<span class="quiet number">${percent(download)} %</span>`}
          ${!isThere && !(download && isActive(download)) && html`
            <button type="button" disabled=${busy} aria-label=${`Download ${file.file}`} onClick=${begin}><${Icon} name="download" /> ${download?.bytes_done ? "Resume" : "Download"}</button>`}
        </div>
        ${failed && html`<${RequestError} error=${failed} advice=${hubAdvice(failed.code)} onRetry=${begin} />`}
      </td>
    </tr>`;
}

function percent({ bytes_done: done, bytes_total: total }) {
  return total ? Math.floor((100 * done) / total) : 0;
}
