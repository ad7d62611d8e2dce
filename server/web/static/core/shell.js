// The frame around each tab: navigation, theme, the state of the connection, the form for a key.
import { connection } from "./events.js";
import { html, useEffect, useErrorBoundary, useState, useValue } from "./html.js";
import { KeyForm } from "./key_form.js";
import { link, route } from "./router.js";
import { keyNeeded, theme } from "./session.js";
import { TABS } from "./tabs.js";
import { Icon } from "../shared/icon.js";
import { Toast } from "../shared/toast.js";

export function Shell() {
  const { tab, rest } = useValue(route);
  const asks = useValue(keyNeeded);
  const current = TABS.find((one) => one.id === tab) || TABS[0];
  useEffect(() => {
    document.title = `${current.title} · llamabind`;
  }, [current]);
  return html`
    <a class="skip" href="#main" onClick=${focusMain}>Skip to content</a>
    <header class="bar">
      <a class="brand" href=${link("chat")} aria-label="llamabind, new chat"><${Icon} name="logo" /></a>
      <nav aria-label="Tabs">
        ${TABS.map((one) => html`<a key=${one.id} href=${link(one.id)} aria-current=${one === current ? "page" : null} data-title=${one.title}>${one.title}</a>`)}
      </nav>
      <${Connection} />
      <${ThemeSwitch} />
    </header>
    <main id="main" tabindex="-1">
      ${asks ? html`<${KeyForm} reason=${asks} />` : html`<${Slot} key=${current.id} tab=${current} rest=${rest} />`}
    </main>
    <${Toast} />`;
}

function focusMain(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

/** The component of a tab, once its module is read; an exception in it leaves the shell usable. */
function Slot({ tab, rest }) {
  const [Tab, setTab] = useState(null);
  const [failure, setFailure] = useState("");
  const [error, reset] = useErrorBoundary((caught) => console.error(caught));
  useEffect(() => {
    let isShown = true;
    tab.load().then(
      (module) => isShown && setTab(() => module.Tab),
      () => isShown && setFailure("This tab could not be read from the server."),
    );
    return () => {
      isShown = false;
    };
  }, [tab]);
  if (failure || error) {
    const again = () => (failure ? location.reload() : reset());
    return html`
      <div class="page" role="alert">
        <p>${failure || `This tab stopped with an error: ${error.message}`}</p>
        <button type="button" class="primary" onClick=${again}>Try again</button>
      </div>`;
  }
  return Tab && html`<${Tab} rest=${rest} />`;
}

/** Says that the server does not answer; draws nothing while it does. */
function Connection() {
  const state = useValue(connection);
  return html`
    <span class="connection" role="status">
      ${state === "offline" && html`<span class="pill warn" title="The page tries again by itself">Server not reachable</span>`}
    </span>`;
}

const NEXT_THEME = { "": "light", light: "dark", dark: "" };
const THEME_WORDS = { "": "as the system", light: "light", dark: "dark" };
const THEME_ICONS = { "": "auto", light: "sun", dark: "moon" };

function ThemeSwitch() {
  const now = useValue(theme);
  const label = `Colours: ${THEME_WORDS[now]}; change to ${THEME_WORDS[NEXT_THEME[now]]}`;
  const change = () => {
    theme.value = NEXT_THEME[now];
  };
  return html`<button type="button" class="icon" aria-label=${label} title=${label} onClick=${change}><${Icon} name=${THEME_ICONS[now]} /></button>`;
}
