// The tabs of the page. Each module is read when its tab is opened first and exports the component `Tab`,
// which gets the rest of the address as `rest`.

/** @type {{id: string, title: string, load: () => Promise<{Tab: any}>}[]} */
export const TABS = [
  { id: "chat", title: "Chat", load: () => fetched("chat", () => import("../chat/tab.js")) },
  { id: "models", title: "Models", load: () => fetched("models", () => import("../models/tab.js")) },
  { id: "get", title: "Get models", load: () => fetched("get", () => import("../get/tab.js")) },
  { id: "machine", title: "Machine", load: () => fetched("machine", () => import("../machine/tab.js")) },
];

/**
 * Fetch all modules of a tab at once, and import it. Without their list, which the server writes into the
 * page, each level of imports is a round trip.
 */
function fetched(id, load) {
  const list = document.querySelector(`meta[name="modules-of-${id}"]`);
  for (const address of list ? list.content.split(" ") : []) {
    document.head.append(Object.assign(document.createElement("link"), { rel: "modulepreload", href: address }));
  }
  list?.remove();
  return load();
}
