// The answer to a request that failed: the server's sentence, or a form for the admin key it needs.
import { html, useRef, useValue } from "../core/html.js";
import { key, setKey } from "../core/session.js";
import { sentence } from "./format.js";

/**
 * @param {{error: {message: string, code: string}|null, advice?: string, onRetry?: () => void}} props
 *   `onRetry` repeats the request, also after an admin key was entered
 */
export function RequestError({ error, advice = "", onRetry }) {
  if (!error) return null;
  if (error.code === "admin_key_required") return html`<${AdminKey} onRetry=${onRetry} />`;
  return html`
    <div class="notice error" role="alert">
      <p class="sentence">${sentence(error.message)}</p>
      ${advice && html`<p>${advice}</p>`}
      ${onRetry && html`<button type="button" onClick=${onRetry}>Try again</button>`}
    </div>`;
}

/** Asks for an admin key, which takes the place of the key in use. */
export function AdminKey({ onRetry }) {
  const field = useRef(null);
  const inUse = useValue(key);
  const submit = (event) => {
    event.preventDefault();
    // This form may be inside another one, which must not be submitted.
    event.stopPropagation();
    if (!field.current.value.trim()) return;
    setKey(field.current.value);
    onRetry?.();
  };
  return html`
    <form class="notice admin-key" onSubmit=${submit}>
      <strong>This needs an admin key</strong>
      <p>The server has admin keys (--admin-key). An ordinary key may chat and read, but not load, unload, download or delete models.</p>
      ${inUse && html`<p class="error" role="alert">The key in use is not an admin key.</p>`}
      <label>Admin key<input ref=${field} type="password" autocomplete="off" spellcheck="false" required /></label>
      <button type="submit" class="primary">Use this key</button>
    </form>`;
}
