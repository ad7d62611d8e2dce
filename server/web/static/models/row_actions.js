// What can be done with a model in its state.
import { html, useState } from "../core/html.js";
import { bytes } from "../shared/format.js";
import { Confirm, Dialog } from "../shared/dialog.js";
import { Icon } from "../shared/icon.js";
import { isLoading, shortName } from "../shared/model_words.js";
import { RequestError } from "../shared/request_error.js";
import { useAction } from "../shared/use_action.js";
import { remove, setPinned, unload } from "./actions.js";

/**
 * Load, cancel or unload: one button in all states, so that the focus stays on it while the state changes. It is not
 * `disabled`, and the others have an element of their own: either would take the focus away.
 */
function MainAction({ model, busy, onLoad, onUnload }) {
  const canLoad = model.status === "unloaded" || model.status === "failed";
  const label = canLoad ? "Load" : isLoading(model.status) ? "Cancel" : "Unload";
  const isOff = busy || model.status === "draining";
  const act = () => isOff || (canLoad ? onLoad(model.id) : onUnload());
  return html`<button type="button" aria-label=${`${label} ${shortName(model.id)}`} aria-disabled=${isOff ? "true" : null} onClick=${act}>${label}</button>`;
}

/** @param {{model: import("../core/events.js").Model, onLoad: (id: string) => void}} props */
export function RowActions({ model, onLoad }) {
  const { id, status } = model;
  // Another client has unloaded it or cancelled its load in the meantime: nothing is left to do.
  const { run, busy, failed, setFailed } = useAction((error) => error.code === "model_not_loaded");
  const [asks, setAsks] = useState(false);
  const iconButton = (name, label, action, pressed = null) =>
    html`<button type="button" class="icon" disabled=${busy} aria-label=${`${label} ${shortName(id)}`} aria-pressed=${pressed} title=${label} onClick=${action}><${Icon} name=${name} /></button>`;
  const canLoad = status === "unloaded" || status === "failed";
  return html`
    <div class="buttons">
      <span class="buttons">
        ${status === "loaded" && iconButton("pin", model.pinned ? "Stop keeping in memory:" : "Keep in memory:", () => run(() => setPinned(id, !model.pinned)), String(Boolean(model.pinned)))}
        ${status === "loaded" && iconButton("settings", "Settings of", () => onLoad(id))}
        ${model.can_remove && (canLoad || status === "broken") && iconButton("trash", "Delete", () => setAsks(true))}
        ${status === "draining" && html`
          <button type="button" aria-label=${`Stop answers of ${shortName(id)}`} onClick=${() => run(() => unload(id, { force: true }))}>Stop answers</button>`}
      </span>
      ${status !== "broken" && html`<${MainAction} model=${model} busy=${busy} onLoad=${onLoad} onUnload=${() => run(() => unload(id))} />`}
    </div>
    ${asks && html`
      <${Confirm} title=${`Delete ${shortName(id)}?`} action="Delete" busy=${busy} onClose=${() => setAsks(false)}
        onConfirm=${() => run(() => remove(id)).then(() => setAsks(false))}>
        <p>Its files (${bytes(model.size)}) are deleted from the hub's cache, also for other programs that use this cache.</p>
      <//>`}
    ${failed && html`
      <${Dialog} title=${shortName(id)} kind="small" onClose=${() => setFailed(null)}>
        <${RequestError} error=${failed.error} onRetry=${() => run(failed.action)} />
      <//>`}`;
}
