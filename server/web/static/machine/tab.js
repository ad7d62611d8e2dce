// The Machine tab: how busy the machine and the models are, the last errors, and how to connect clients.
import { html, useState, useValue } from "../core/html.js";
import { RequestError } from "../shared/request_error.js";
import { usePoll } from "../shared/use_poll.js";
import { Errors } from "./errors.js";
import { ModelTiles } from "./model_tiles.js";
import { PERIOD_MS, sample, samples } from "./samples.js";
import { Snippets } from "./snippets.js";
import { SystemTiles } from "./system_tiles.js";

export function Tab() {
  const taken = useValue(samples);
  const [error, setError] = useState(null);
  usePoll(async (signal) => {
    try {
      await sample(signal);
      setError(null);
    } catch (caught) {
      if (!signal.aborted) setError(caught);
    }
  }, PERIOD_MS);
  return html`
    <div class="page machine-tab">
      <header class="tab-head"><h1>Machine</h1></header>
      ${error && (taken.length === 0 || error.code !== "unreachable") && html`<${RequestError} error=${error} />`}
      ${taken.length === 0 && !error && html`<p class="quiet" role="status">Reading the machine's figures…</p>`}
      ${taken.length > 0 && html`
        <${SystemTiles} samples=${taken} />
        <h2>Models in memory</h2>
        <${ModelTiles} samples=${taken} />`}
      <${Errors} />
      <${Snippets} />
    </div>`;
}
