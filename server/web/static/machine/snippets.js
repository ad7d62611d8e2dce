// How to connect a client to this server, with its address and one of its models.
import { ROOT } from "../core/api.js";
import { models } from "../core/events.js";
import { html, useState, useValue } from "../core/html.js";
import { key } from "../core/session.js";
import { CopyButton } from "../shared/copy.js";
import { isInMemory } from "../shared/model_words.js";
import { KEY_VARIABLE, snippets } from "./snippet_texts.js";

export function Snippets() {
  const all = useValue(models);
  const hasKey = Boolean(useValue(key));
  const [chosen, setChosen] = useState("");
  const usable = [...(all?.values() || [])].filter((model) => model.status !== "broken" && generates(model));
  const model = usable.find((one) => one.id === chosen) || usable.find((one) => isInMemory(one.status)) || usable[0];
  // Copied now, they would name no model.
  if (all === null) return null;
  const list = snippets({ root: ROOT.href.replace(/\/$/, ""), model: model?.id || "MODEL", hasKey });
  return html`
    <section class="snippets">
      <h2>Connect a client</h2>
      ${usable.length > 1 && html`
        <label class="snippet-model">Model
          <select value=${model.id} onChange=${(event) => setChosen(event.target.value)}>
            ${usable.map((one) => html`<option key=${one.id} value=${one.id}>${one.id}</option>`)}
          </select>
        </label>`}
      ${hasKey && html`<p class="quiet">Put your key into the environment first: <code>export ${KEY_VARIABLE}=…</code></p>`}
      ${list.map((one) => html`<${One} key=${one.id} snippet=${one} />`)}
      <p class="quiet small">The API is described in <a href="docs" target="_blank" rel="noreferrer">/docs</a>.</p>
    </section>`;
}

function One({ snippet }) {
  return html`
    <div class="snippet" data-snippet=${snippet.id}>
      <div class="snippet-head">
        <h3>${snippet.title}</h3>
        ${snippet.install && html`<code class="quiet">${snippet.install}</code>`}
        <${CopyButton} text=${() => snippet.text} label=${`Copy the ${snippet.title} example`} />
      </div>
      <pre tabindex="0">${snippet.text}</pre>
    </div>`;
}

function generates({ capabilities = ["completion"] }) {
  return capabilities.includes("completion");
}
