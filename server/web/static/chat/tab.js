// The tab Chat: the list of chats, the open chat, its settings.
import { connection, models } from "../core/events.js";
import { effect, html, signal, untracked, useEffect, useLayoutEffect, useValue } from "../core/html.js";
import { go, link, route } from "../core/router.js";
import { focusIfLost } from "../shared/focus.js";
import { Icon } from "../shared/icon.js";
import { Answer, answers } from "./answer/answer.js";
import { Composer } from "./composer.js";
import { changedElsewhere, conversations, readHistory } from "./store/history.js";
import { MessageList } from "./message_list.js";
import { defaultModel, ModelPicker, rememberModel, takeWanted, useFacts } from "./model_choice.js";
import { defaultSettings } from "./store/settings.js";
import { SettingsPanel } from "./settings_panel.js";
import { useShortcuts } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./store/thread.js";

const NARROW = matchMedia("(max-width: 760px)");

/** The open chat; it stays when another tab is shown. @type {{value: Thread|null}} */
const open = signal(null);
const isSidebarOpen = signal(!NARROW.matches);
const areSettingsOpen = signal(false);

effect(() => {
  const change = changedElsewhere.value;
  if (change) untracked(() => readAgain(change.id));
});

/** Another tab has changed a chat: if it is open here, show what it has now, or a new chat if it was deleted. */
async function readAgain(id) {
  const now = open.peek();
  const count = now?.changed.peek();
  if (now?.conversation.id !== id || isAnswering(now)) return;
  const found = await Thread.read(id).catch(() => now);
  // What was written here meanwhile is newer.
  if (found === now || open.peek() !== now || now.changed.peek() !== count) return;
  if (!found) {
    open.value = Thread.make(defaultModel(), defaultSettings());
    if (route.peek().tab === "chat") go("chat", "", { replace: true });
    return;
  }
  const { leaf } = found.conversation;
  // An answer that the other tab is still writing: its end is a change, too.
  if (found.messages.get(leaf)?.state === "cut" && !now.messages.has(leaf)) return;
  open.value = found;
}

function isAnswering(thread) {
  return [...answers.peek().values()].some((answer) => answer.thread === thread);
}

/** @param {{rest: string}} props the id of the chat in the address */
export function Tab({ rest }) {
  const thread = useOpenThread(rest);
  const showsSidebar = useValue(isSidebarOpen);
  const showsSettings = useValue(areSettingsOpen);
  useEffect(() => {
    if (!conversations.peek()) readHistory();
  }, []);
  useShortcuts({ onNew: startNew, onSearch: search, onStop: stop, onSidebar: toggleSidebar });
  return html`
    <div class="chat ${showsSidebar ? "with-sidebar" : ""} ${showsSettings ? "with-settings" : ""}">
      ${showsSidebar && html`<${Sidebar} openId=${thread?.conversation.id || ""} onNew=${startNew} onClose=${toggleSidebar} />`}
      ${showsSidebar && html`<div class="shade" onClick=${toggleSidebar}></div>`}
      ${thread ? html`<${Conversation} key=${thread.conversation.id} thread=${thread} />` : html`<div class="conversation"></div>`}
    </div>`;
}

/** The chat of the address: the one that is open, one of the list, or a new one. */
function useOpenThread(id) {
  const thread = useValue(open);
  const all = useValue(models);
  useEffect(() => {
    let isWanted = true;
    const now = open.peek();
    if (!id) {
      if (!now || now.isKept) open.value = Thread.make(defaultModel(), defaultSettings());
      const wanted = takeWanted();
      if (wanted) open.peek().update({ model: wanted });
    } else if (now?.conversation.id !== id) {
      read(id).then((found) => {
        if (!isWanted) return;
        if (found) open.value = found;
        else go("chat", "", { replace: true });
      });
    }
    if (NARROW.matches && id) isSidebarOpen.value = false;
    return () => {
      isWanted = false;
    };
  }, [id]);
  // Before the browser draws or takes a key: a chat without a model cannot send.
  useLayoutEffect(() => {
    // The first list of models arrives after the new chat was made.
    if (thread && !thread.conversation.model && all?.size) thread.update({ model: defaultModel() });
  }, [thread, all]);
  return thread && (!id || thread.conversation.id === id) ? thread : null;
}

async function read(id) {
  for (const answer of answers.peek().values()) {
    if (answer.thread.conversation.id === id) return answer.thread;
  }
  return Thread.read(id).catch(() => null);
}

function Conversation({ thread }) {
  useValue(thread.changed);
  const { model, leaf } = thread.conversation;
  const facts = useFacts(model);
  const showsSettings = useValue(areSettingsOpen);
  const all = useValue(models);
  const isAnswering = useValue(answers).has(leaf);
  const send = (content, attachments) => {
    const question = thread.add({ role: "user", parent: leaf, content, attachments: attachments.length ? attachments : undefined });
    go("chat", thread.conversation.id, { replace: true });
    Answer.start(thread, question);
  };
  const choose = (id) => {
    rememberModel(id);
    thread.update({ model: id });
  };
  const editLast = () => {
    const questions = document.querySelectorAll(".message.user");
    questions[questions.length - 1]?.querySelector("[aria-label^='Edit']")?.click();
  };
  const why = all === null ? "" : model ? "" : "There is no model yet";
  return html`
    <section class="conversation" aria-label="Chat">
      <div class="conversation-head">
        <button type="button" class="icon" data-opens="sidebar" aria-label="List of chats" title="List of chats (Ctrl+B)" aria-expanded=${isSidebarOpen.peek()} onClick=${toggleSidebar}><${Icon} name="menu" /></button>
        <${ModelPicker} model=${model} onChoose=${choose} />
        <button type="button" class="icon" data-opens="settings" aria-label="Settings of this chat" title="Settings of this chat" aria-expanded=${showsSettings} onClick=${toggleSettings}><${Icon} name="settings" /></button>
      </div>
      <${MessageList} thread=${thread}><${Welcome} model=${model} /><//>
      <${Composer} isAnswering=${isAnswering} why=${why} facts=${facts} onSend=${send} onStop=${stop} onEditLast=${editLast} />
    </section>
    ${showsSettings && html`<${SettingsPanel} thread=${thread} facts=${facts} onClose=${toggleSettings} />`}`;
}

function Welcome({ model }) {
  const all = useValue(models);
  const state = useValue(connection);
  useEffect(() => {
    // On a phone the keyboard would cover the page.
    if (!NARROW.matches) document.getElementById("composer")?.focus();
    // Only once: when the first list of models arrives, the user may already be writing somewhere else.
  }, []);
  if (all === null) {
    return html`<div class="welcome">${state === "offline" && html`<h1>The server does not answer</h1><p class="quiet">Is it running? The page connects by itself when the server is back.</p>`}</div>`;
  }
  if (!model) {
    return html`
      <div class="welcome">
        <h1>No model yet</h1>
        <p class="quiet">Get one from a hub, or put a GGUF file into the folder of --models-dir.</p>
        <p><a class="button primary" href=${link("get")}>Get a model</a></p>
      </div>`;
  }
  return html`
    <div class="welcome">
      <h1>What would you like to know?</h1>
      ${all.get(model)?.status !== "loaded" && html`<p class="quiet">The model is loaded with your first message.</p>`}
    </div>`;
}

function startNew() {
  open.value = Thread.make(defaultModel(), defaultSettings());
  go("chat");
  if (NARROW.matches) isSidebarOpen.value = false;
  document.getElementById("composer")?.focus();
}

function search() {
  isSidebarOpen.value = true;
  requestAnimationFrame(() => document.getElementById("search")?.focus());
}

function stop() {
  answers.peek().get(open.peek()?.conversation.leaf)?.stop();
}

function toggleSidebar() {
  isSidebarOpen.value = !isSidebarOpen.peek();
  focusIfLost("[data-opens=sidebar]");
}

function toggleSettings() {
  areSettingsOpen.value = !areSettingsOpen.peek();
  focusIfLost("[data-opens=settings]");
}
