// Asks for the API key of a server that needs one.
import { html, useLayoutEffect, useRef } from "./html.js";
import { setKey } from "./session.js";

/** @param {{reason: "missing"|"wrong"}} props */
export function KeyForm({ reason }) {
  const field = useRef(null);
  useLayoutEffect(() => field.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    if (field.current.value.trim()) setKey(field.current.value);
  };
  return html`
    <form class="page key-form" onSubmit=${submit}>
      <h1>This server needs a key</h1>
      <p class="quiet">It was started with API keys. The key stays in this tab and is forgotten when you close it.</p>
      ${reason === "wrong" && html`<p class="error" role="alert" id="key-error">The server does not accept this key.</p>`}
      <label>
        API key
        <input ref=${field} type="password" autocomplete="off" spellcheck="false" required
          aria-describedby=${reason === "wrong" ? "key-error" : null} aria-invalid=${reason === "wrong"} />
      </label>
      <button type="submit" class="primary">Use this key</button>
    </form>`;
}
