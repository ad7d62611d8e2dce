// The list of conversations: search, rename, delete, export, import.
import { html, useEffect, useLayoutEffect, useRef, useState, useValue } from "../core/html.js";
import { go, link } from "../core/router.js";
import { focusIfLost } from "../shared/focus.js";
import { Icon } from "../shared/icon.js";
import { toast } from "../shared/toast.js";
import { VirtualList } from "../shared/virtual_list.js";
import { answers } from "./answer/answer.js";
import { findInMessages } from "./store/database.js";
import { exportAll, importFile } from "./store/exchange.js";
import { conversations, removeConversation, rename, storageProblem } from "./store/history.js";

const ROW_HEIGHT = 40;
const SEARCH_MS = 150;

/** @param {{openId: string, onNew: () => void, onClose: () => void}} props */
export function Sidebar({ openId, onNew, onClose }) {
  const [query, setQuery] = useState("");
  const found = useFound(query);
  const problem = useValue(storageProblem);
  const all = useValue(conversations);
  return html`
    <aside class="sidebar" aria-label="Chats">
      <div class="sidebar-head">
        <button type="button" class="new-chat" onClick=${onNew} title="Ctrl+Shift+O"><${Icon} name="plus" />New chat</button>
        <button type="button" class="icon close-sidebar" aria-label="Close the list of chats" onClick=${onClose}><${Icon} name="close" /></button>
      </div>
      <div class="search">
        <${Icon} name="search" />
        <input id="search" type="search" placeholder="Search chats" aria-label="Search chats" title="Ctrl+K" value=${query} onInput=${(event) => setQuery(event.target.value)} />
      </div>
      ${problem && html`<p class="notice warn small" role="alert">${problem}</p>`}
      ${found.length
        ? html`<${VirtualList} items=${found} rowHeight=${ROW_HEIGHT} label="Chats" row=${(one) => html`<${Row} conversation=${one} isOpen=${one.id === openId} />`} />`
        : html`<p class="quiet small empty">${all === null ? "" : query ? "No chat has these words." : "Your chats appear here. They stay in this browser."}</p>`}
      <${Exchange} isEmpty=${!all?.length} />
    </aside>`;
}

/** The conversations with the query in their title, and then those with it in a message. */
function useFound(query) {
  const all = useValue(conversations) || [];
  const [inMessages, setInMessages] = useState(new Set());
  const text = query.trim().toLowerCase();
  useEffect(() => {
    setInMessages(new Set());
    if (text.length < 2) return undefined;
    const ended = new AbortController();
    const timer = setTimeout(async () => {
      const ids = await findInMessages(text, ended.signal).catch(() => new Set());
      if (!ended.signal.aborted) setInMessages(ids);
    }, SEARCH_MS);
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [text]);
  return text ? all.filter((one) => one.title.toLowerCase().includes(text) || inMessages.has(one.id)) : all;
}

function Row({ conversation, isOpen }) {
  const [isRenaming, setRenaming] = useState(false);
  const own = [...useValue(answers).values()].filter((answer) => answer.thread.conversation.id === conversation.id);
  const remove = async () => {
    for (const answer of own) answer.stop();
    const undo = await removeConversation(conversation.id);
    if (isOpen) go("chat");
    focusIfLost("#search");
    toast(`Deleted “${conversation.title}”`, { label: "Undo", run: undo });
  };
  const endRename = () => {
    setRenaming(false);
    focusIfLost(`[data-chat="${conversation.id}"]`);
  };
  if (isRenaming) return html`<${Rename} conversation=${conversation} onEnd=${endRename} />`;
  return html`
    <div class="chat-row ${isOpen ? "open" : ""}">
      <a data-chat=${conversation.id} href=${link("chat", conversation.id)} aria-current=${isOpen ? "true" : null} title=${conversation.title}>
        ${own.length > 0 && html`<span class="working" role="img" aria-label="answering"></span>`}${conversation.title}
      </a>
      <button type="button" class="icon" aria-label=${`Rename ${conversation.title}`} title="Rename" onClick=${() => setRenaming(true)}><${Icon} name="edit" /></button>
      <button type="button" class="icon" aria-label=${`Delete ${conversation.title}`} title="Delete" onClick=${remove}><${Icon} name="trash" /></button>
    </div>`;
}

function Rename({ conversation, onEnd }) {
  const field = useRef(null);
  useLayoutEffect(() => field.current.select(), []);
  const save = () => {
    // The field loses the focus once more when it is removed.
    if (!field.current) return;
    if (field.current.value.trim() !== conversation.title) rename(conversation, field.current.value);
    onEnd();
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter") save();
    if (event.key === "Escape") {
      event.stopPropagation();
      onEnd();
    }
  };
  return html`<input ref=${field} class="rename" aria-label="New title" defaultValue=${conversation.title} onKeyDown=${onKeyDown} onBlur=${save} />`;
}

function Exchange({ isEmpty }) {
  const file = useRef(null);
  const read = async () => {
    const [chosen] = file.current.files;
    file.current.value = "";
    if (!chosen) return;
    try {
      const { added, present } = await importFile(chosen);
      toast(`Imported ${count(added)}${present ? `; ${count(present)} already here` : ""}.`);
    } catch (error) {
      toast(`${chosen.name} cannot be imported: ${error.message}.`);
    }
  };
  return html`
    <div class="exchange">
      <button type="button" class="plain small" disabled=${isEmpty} onClick=${() => exportAll()}><${Icon} name="export" />Export</button>
      <button type="button" class="plain small" onClick=${() => file.current.click()}><${Icon} name="import" />Import</button>
      <input ref=${file} type="file" accept=".json,application/json" hidden onChange=${read} aria-label="File of chats to import" />
    </div>`;
}

function count(number) {
  return number === 1 ? "1 chat" : `${number} chats`;
}
