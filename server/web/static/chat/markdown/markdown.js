// Markdown that a model wrote, as a DOM fragment in which nothing can run or fetch.
//
// Three layers: raw HTML in the Markdown is shown as text; DOMPurify keeps a short list of elements and
// attributes; the page's policy forbids scripts, styles and requests to other hosts.
import DOMPurify from "../../vendor/dompurify/purify.es.mjs";
import { Marked } from "../../vendor/marked/marked.esm.js";

// marked needs quadratic time for some texts, and recursion for nested blocks: beyond these limits a text is
// shown as it is. In characters, of one paragraph or list item, and of one block.
const LONGEST_PARAGRAPH = 6_000;
const LONGEST_BLOCK = 40_000;
const NEW_PARAGRAPH = /^\s*(?:[-*+|>#]|\d+[.)])/;
const TOO_DEEP = /^\s*(?:(?:[->*+]|\d+[.)])[ \t]*){25}/;

const SAFE_LINK = /^(?:https?:|mailto:)/i;
const INLINE_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,/i;
const BREAK = /^<br\s*\/?>$/i;

const PURIFY = {
  ALLOWED_TAGS: [
    ..."a blockquote br code del em h1 h2 h3 h4 h5 h6 hr img input li ol p pre".split(" "),
    ..."strong table tbody td th thead tr ul".split(" "),
  ],
  ALLOWED_ATTR: ["href", "src", "alt", "title", "align", "start", "class", "type", "checked", "disabled"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

const marked = new Marked({
  gfm: true,
  breaks: false,
  renderer: {
    html({ text }) {
      return BREAK.test(text.trim()) ? "<br>" : escape(text);
    },
    // An image of another host would tell that host that the answer was read: a link instead.
    image({ href, text }) {
      if (INLINE_IMAGE.test(href)) return `<img src="${escape(href)}" alt="${escape(text)}">`;
      return `<a href="${escape(href)}">${escape(text || href)}</a>`;
    },
  },
});

/**
 * The blocks at the beginning of a text: each with its source, so that blocks that are complete need not be
 * read again. `text` has no "\r".
 * @param {string} text
 * @returns {import("../../vendor/marked/marked.esm.js").Token[]}
 */
export function blocksOf(text) {
  return marked.lexer(text);
}

/** Whether parsing `text` as Markdown could block the browser for seconds. */
export function isTooHard(text) {
  let paragraph = 0;
  let block = 0;
  for (const line of text.split("\n")) {
    if (TOO_DEEP.test(line)) return true;
    const isBlank = !line.trim();
    block = isBlank ? 0 : block + line.length;
    paragraph = isBlank ? 0 : NEW_PARAGRAPH.test(line) ? line.length : paragraph + line.length;
    if (paragraph > LONGEST_PARAGRAPH || block > LONGEST_BLOCK) return true;
  }
  return false;
}

/** @param {any[]} blocks as of blocksOf @returns {DocumentFragment} */
export function fragmentOf(blocks) {
  const fragment = DOMPurify.sanitize(marked.parser(blocks), PURIFY);
  for (const link of fragment.querySelectorAll("a")) makeSafe(link);
  for (const image of fragment.querySelectorAll("img")) {
    if (!INLINE_IMAGE.test(image.getAttribute("src") || "")) image.remove();
  }
  for (const input of fragment.querySelectorAll("input")) {
    if (input.type === "checkbox") input.disabled = true;
    else input.remove();
  }
  for (const code of fragment.querySelectorAll("pre > code")) {
    const [, language = ""] = /language-(\S+)/.exec(code.className) || [];
    code.parentElement.replaceWith(codeBlock(code.textContent.replace(/\n$/, ""), language));
  }
  for (const table of fragment.querySelectorAll("table")) scrollable(table);
  return fragment;
}

/** A block of code with its language and a button that copies it. */
export function codeBlock(text, language) {
  const block = document.createElement("div");
  block.className = "code";
  const head = document.createElement("div");
  head.className = "code-head";
  const name = document.createElement("span");
  name.textContent = language || "code";
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "plain";
  copy.dataset.copy = "code";
  copy.textContent = "Copy";
  head.append(name, copy);
  const pre = document.createElement("pre");
  // Wide code scrolls: with the keyboard too.
  pre.tabIndex = 0;
  const code = document.createElement("code");
  code.append(document.createTextNode(text));
  pre.append(code);
  block.append(head, pre);
  return block;
}

function makeSafe(link) {
  if (!SAFE_LINK.test(link.getAttribute("href") || "")) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

function scrollable(table) {
  const box = document.createElement("div");
  box.className = "table";
  table.replaceWith(box);
  box.append(table);
}

function escape(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
