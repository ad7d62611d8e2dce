// The browser's storage for small texts. A browser that blocks it (cookies off, some private windows) forgets
// them with the page, and nothing else changes.

/** Kept until the user deletes it. */
export const lasting = guarded(() => window.localStorage);

/** Kept until the tab is closed. */
export const untilClosed = guarded(() => window.sessionStorage);

function guarded(storage) {
  return {
    /** @returns {string} "" if there is none */
    get(name) {
      try {
        return storage().getItem(name) || "";
      } catch {
        return "";
      }
    },
    /** @param {string} name @param {string} text "" removes it */
    set(name, text) {
      try {
        if (text) storage().setItem(name, text);
        else storage().removeItem(name);
      } catch {
        // As described above.
      }
    },
  };
}
