// The Get models tab: search the hub, see what fits, download.
import { html, useEffect, useState, useValue } from "../core/html.js";
import { go } from "../core/router.js";
import { Icon } from "../shared/icon.js";
import { RequestError } from "../shared/request_error.js";
import { usePoll } from "../shared/use_poll.js";
import { DownloadRow } from "./download_row.js";
import { downloads, isActive, readDownloads } from "./downloads.js";
import { hubAdvice, repositoryOf } from "./hub_words.js";
import { Repository } from "./repository.js";
import { Results } from "./search.js";

// If admin keys are set, an ordinary key gets no events: the list of downloads is then read at this interval.
const POLL_MS = 3000;

/** @param {{rest: string}} props `rest` is the repository that is open */
export function Tab({ rest }) {
  const list = useValue(downloads);
  const [text, setText] = useState(rest);
  const [searched, setSearched] = useState("");
  const [problem, setProblem] = useState(null);
  const read = () => readDownloads().then(() => setProblem(null), setProblem);
  usePoll(read, list === null || list.some(isActive) ? POLL_MS : 0);
  useEffect(() => {
    if (rest) setText(rest);
  }, [rest]);
  const search = (event) => {
    event.preventDefault();
    const repo = repositoryOf(text);
    if (repo) go("get", repo);
    else if (text.trim()) {
      setSearched(text.trim());
      go("get");
    }
  };
  return html`
    <div class="page get-tab">
      <header class="tab-head"><h1>Get models</h1></header>
      <form class="hub-search" role="search" onSubmit=${search}>
        <label class="visually-hidden" for="hub-search">Search the hub, or name a repository</label>
        <input id="hub-search" type="search" value=${text} placeholder="org/repo, or words to search for" autocomplete="off" spellcheck="false" onInput=${(event) => setText(event.target.value)} />
        <button type="submit" class="primary"><${Icon} name="search" /> Search</button>
      </form>
      <${RequestError} error=${problem} advice=${problem && hubAdvice(problem.code)} onRetry=${read} />
      ${rest && repositoryOf(rest) !== rest && html`<p class="notice error sentence" role="alert">“${rest}” is not the name of a repository. Such a name is org/name, as in ggml-org/gemma-3-4b-it-GGUF.</p>`}
      ${rest && repositoryOf(rest) === rest && html`<${Repository} key=${rest} repo=${rest} onBack=${searched ? () => go("get") : null} />`}
      ${!rest && searched && html`<${Results} text=${searched} onOpen=${(repo) => go("get", repo)} />`}
      ${!rest && !searched && list?.length === 0 && html`<${Hint} />`}
      ${list?.length > 0 && html`
        <section aria-label="Downloads">
          <h2>Downloads</h2>
          <ul class="downloads">${list.map((one) => html`<${DownloadRow} key=${one.id} download=${one} />`)}</ul>
        </section>`}
    </div>`;
}

function Hint() {
  return html`
    <div class="empty">
      <p>Models come from a hub (huggingface.co, or the server's HF_ENDPOINT) as GGUF files. Search for a name such as “qwen3 8b”,
        or name a repository such as <code>org/repo-GGUF</code> to see its files, and which of them fit into this machine's memory.</p>
    </div>`;
}
