// The user's key (kept for this tab only) and theme.
import { lasting, untilClosed } from "./browser_storage.js";
import { effect, signal } from "./html.js";

const KEY = "llamabind.key";
const THEME = "llamabind.theme";

/** The API key; "" without one. */
export const key = signal(untilClosed.get(KEY));

/** Why the page asks for a key: "" (it does not), "missing" or "wrong". */
export const keyNeeded = signal("");

/** "light", "dark", or "" for the system's preference. */
export const theme = signal(document.documentElement.dataset.theme || "");

effect(() => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
  lasting.set(THEME, theme.value);
});

/** Keep the key until this tab is closed; "" forgets it. */
export function setKey(text) {
  const trimmed = text.trim();
  untilClosed.set(KEY, trimmed);
  keyNeeded.value = "";
  key.value = trimmed;
}
