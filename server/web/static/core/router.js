// The page's address: "#/chat/ID" is the tab "chat" with the rest "ID".
import { signal } from "./html.js";

/** @type {{value: {tab: string, rest: string}}} */
export const route = signal(read());

window.addEventListener("hashchange", () => {
  route.value = read();
});

/** Go to a tab; `replace` keeps the current address out of the browser's history. */
export function go(tab, rest = "", { replace = false } = {}) {
  const hash = link(tab, rest);
  if (hash === location.hash) return;
  if (!replace) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  route.value = read();
}

/** The href of a tab. */
export function link(tab, rest = "") {
  return `#/${tab}${rest ? `/${encodeURIComponent(rest)}` : ""}`;
}

function read() {
  const [, tab = "", rest = ""] = /^#\/(\w*)\/?(.*)$/.exec(location.hash) || [];
  return { tab, rest: safeDecode(rest) };
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
