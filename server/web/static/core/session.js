// What this browser knows about its user: the key (for this tab's session only) and the theme.
import { effect, signal } from "./html.js";

const KEY = "llamabind.key";
const THEME = "llamabind.theme";

/** The API key; "" without one. */
export const key = signal(sessionStorage.getItem(KEY) || "");

/** Why the page asks for a key: "" (it does not), "missing" or "wrong". */
export const keyNeeded = signal("");

/** "light", "dark", or "" for the system's preference. */
export const theme = signal(document.documentElement.dataset.theme || "");

effect(() => {
  if (theme.value) {
    document.documentElement.dataset.theme = theme.value;
    localStorage.setItem(THEME, theme.value);
  } else {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem(THEME);
  }
});

/** Keep the key until this tab is closed; "" forgets it. */
export function setKey(text) {
  const trimmed = text.trim();
  if (trimmed) sessionStorage.setItem(KEY, trimmed);
  else sessionStorage.removeItem(KEY);
  keyNeeded.value = "";
  key.value = trimmed;
}
