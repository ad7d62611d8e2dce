// The search on the hub: repositories with GGUF files.
import { get } from "../core/api.js";
import { html, useEffect, useState } from "../core/html.js";
import { day, integer } from "../shared/format.js";
import { RequestError } from "../shared/request_error.js";
import { hubAdvice } from "./hub_words.js";

/** @param {{text: string, onOpen: (repo: string) => void}} props */
export function Results({ text, onOpen }) {
  const [found, setFound] = useState(null);
  const [failed, setFailed] = useState(null);
  const read = () => {
    const control = new AbortController();
    setFailed(null);
    setFound(null);
    get(`api/v2/hub/models?limit=20&search=${encodeURIComponent(text)}`, { signal: control.signal })
      .then((list) => setFound(list.data))
      .catch((error) => control.signal.aborted || setFailed(error));
    return () => control.abort();
  };
  useEffect(read, [text]);
  return html`
    <section class="results" aria-label="Results" aria-busy=${!found && !failed ? "true" : "false"}>
      ${!found && !failed && html`<p class="quiet" role="status">Asking the hub…</p>`}
      <${RequestError} error=${failed} advice=${failed && hubAdvice(failed.code)} onRetry=${read} />
      ${found?.length === 0 && html`<p class="quiet" role="status">The hub has no GGUF repository that matches “${text}”.</p>`}
      ${found?.length > 0 && html`
        <ul class="repositories">${found.map((one) => html`<${Result} key=${one.repo} found=${one} onOpen=${onOpen} />`)}</ul>`}
    </section>`;
}

function Result({ found, onOpen }) {
  const facts = [
    found.downloads !== null && found.downloads !== undefined && `${integer(found.downloads)} downloads`,
    found.likes > 0 && `${integer(found.likes)} likes`,
    found.updated && `changed ${day(found.updated)}`,
  ].filter(Boolean);
  return html`
    <li>
      <button type="button" class="repository-link" onClick=${() => onOpen(found.repo)}>
        <span class="sentence"><strong>${found.repo}</strong>${found.gated && html` <span class="pill warn">gated</span>`}</span>
        <span class="quiet small number">${facts.join(" · ")}</span>
      </button>
    </li>`;
}
