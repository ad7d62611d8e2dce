// MarkdownView: Markdown in an element, drawn as it arrives. Blocks that are complete are never read or drawn again.
import { blocksOf, codeBlock, fragmentOf, isTooHard } from "./markdown.js";

const PIECE = 20_000;
// The last block is drawn again after a pause of this many times the duration of its last drawing.
const REST = 3;
const OPEN_FENCE = /^ {0,3}(`{3,}|~{3,})([^\n`]*)\n/;

export class MarkdownView {
  #text = "";
  /** Length of the text whose blocks are complete. */
  #done = 0;
  /** The nodes of the last block, which may still change. */
  #open = [];
  /** Until when the last block stays as it is; of performance.now(). */
  #restsUntil = 0;
  #timer = 0;
  /** The text node of a code block that is still being written, and the length of the text in it. */
  #code = null;

  /**
   * @param {Element} root an element that nothing else draws in
   * @param {(text: string) => void} [onBlock] gets the plain text of each block once it is complete
   */
  constructor(root, onBlock = () => {}) {
    this.root = root;
    this.onBlock = onBlock;
  }

  /**
   * Draw a text that mostly begins with the text drawn before.
   * @param {string} source
   * @param {boolean} isComplete whether no more text will follow
   */
  update(source, isComplete) {
    const text = source.replace(/\r\n?/g, "\n");
    if (!text.startsWith(this.#text)) this.#clear();
    this.#text = text;
    const rest = text.slice(this.#done);
    if (!isComplete && this.#writeCode(rest)) return;
    this.#code = null;
    clearTimeout(this.#timer);
    const now = performance.now();
    if (!isComplete && now < this.#restsUntil) {
      this.#timer = setTimeout(() => this.update(this.#text, false), this.#restsUntil - now);
      return;
    }
    const blocks = isTooHard(rest) ? null : tryToRead(rest);
    if (blocks) this.#draw(blocks, isComplete);
    else this.#drawPlain(rest, isComplete);
    this.#restsUntil = now + (performance.now() - now) * (REST + 1);
  }

  #clear() {
    this.root.replaceChildren();
    this.#done = 0;
    this.#open = [];
    this.#code = null;
  }

  #draw(blocks, isComplete) {
    let last = blocks.length - 1;
    while (last >= 0 && blocks[last].type === "space") last--;
    const complete = isComplete ? blocks.length : Math.max(last, 0);
    this.#removeOpen();
    const finished = blocks.slice(0, complete);
    this.#done += finished.reduce((length, block) => length + block.raw.length, 0);
    if (finished.length) this.onBlock(textOf(this.#append(finished)));
    if (!isComplete && last >= 0) this.#open = this.#append([blocks[last]]);
  }

  #append(blocks) {
    const fragment = fragmentOf(blocks);
    // The line ends between blocks.
    for (const node of [...fragment.childNodes]) if (!node.textContent.trim() && node.nodeType === Node.TEXT_NODE) node.remove();
    const nodes = [...fragment.childNodes];
    this.root.append(fragment);
    return nodes;
  }

  #removeOpen() {
    for (const node of this.#open) node.remove();
    this.#open = [];
  }

  /** Append to a code block that is still being written; false if `rest` does not begin with one. */
  #writeCode(rest) {
    const fence = OPEN_FENCE.exec(rest);
    if (!fence) return false;
    const end = new RegExp(`\\n {0,3}${fence[1][0]}{${fence[1].length},}[ \\t]*(?:\\n|$)`);
    const body = rest.slice(fence[0].length);
    // Only the new text can hold the closing fence; a fence may have begun just before it.
    const from = this.#code ? Math.max(this.#code.length - 200, 0) : 0;
    if (end.test(`${from ? "" : "\n"}${body.slice(from)}`)) return false;
    if (!this.#code) {
      this.#removeOpen();
      const block = codeBlock("", fence[2].trim().split(/\s/)[0]);
      this.root.append(block);
      this.#open = [block];
      this.#code = { node: block.querySelector("code").firstChild, length: 0 };
    }
    this.#code.node.appendData(body.slice(this.#code.length));
    this.#code.length = body.length;
    return true;
  }

  /** A block too long for Markdown, in pieces that the browser can lay out one by one. */
  #drawPlain(rest, isComplete) {
    this.#removeOpen();
    const box = document.createElement("div");
    box.className = "plain-text";
    for (let at = 0; at < rest.length; at += PIECE) {
      const piece = document.createElement("div");
      piece.textContent = rest.slice(at, at + PIECE);
      box.append(piece);
    }
    this.root.append(box);
    if (isComplete) this.#done += rest.length;
    else this.#open = [box];
  }
}

function textOf(nodes) {
  return nodes.map((node) => node.textContent).join("\n");
}

function tryToRead(text) {
  try {
    return blocksOf(text);
  } catch (error) {
    // marked ran out of stack: the blocks are nested deeper than isTooHard can tell.
    if (error instanceof RangeError) return null;
    throw error;
  }
}
