// Keys that work everywhere in the tab Chat.
import { useLayoutEffect } from "../core/html.js";

/**
 * Ctrl+Shift+O: new chat. Ctrl+K: search. Ctrl+B: list of chats. "/": write. Escape: stop the answer.
 * @param {{onNew: () => void, onSearch: () => void, onStop: () => void, onSidebar: () => void}} actions
 */
export function useShortcuts(actions) {
  useLayoutEffect(() => {
    const onKeyDown = (event) => {
      const action = find(event, actions);
      if (!action || event.defaultPrevented) return;
      event.preventDefault();
      action();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}

function find(event, { onNew, onSearch, onStop, onSidebar }) {
  const isCommand = event.ctrlKey || event.metaKey;
  if (event.altKey) return null;
  if (isCommand && event.shiftKey && event.code === "KeyO") return onNew;
  if (isCommand && !event.shiftKey && event.code === "KeyK") return onSearch;
  if (isCommand && !event.shiftKey && event.code === "KeyB") return onSidebar;
  if (isCommand) return null;
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) return onStop;
  if (event.key === "/" && !event.target.closest("input, textarea, select")) return () => document.getElementById("composer")?.focus();
  return null;
}
