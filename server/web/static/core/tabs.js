// The tabs of the page. Each module is read when its tab is opened first and exports the component `Tab`,
// which gets the rest of the address as `rest`.

/** @type {{id: string, title: string, load: () => Promise<{Tab: any}>}[]} */
export const TABS = [
  { id: "chat", title: "Chat", load: () => import("../chat/tab.js") },
  { id: "models", title: "Models", load: () => import("../models/tab.js") },
  { id: "get", title: "Get models", load: () => import("../get/tab.js") },
  { id: "machine", title: "Machine", load: () => import("../machine/tab.js") },
];
