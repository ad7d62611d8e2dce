// The messages of a branch. It follows a growing answer only while its end is in view.
import { effect, html, useEffect, useLayoutEffect, useRef, useState, useValue } from "../core/html.js";
import { copyText } from "../shared/copy.js";
import { Icon } from "../shared/icon.js";
import { answers } from "./answer/answer.js";
import { Message } from "./message.js";

const PAGE = 20;
const COPIED_MS = 1500;

/** @param {{thread: import("./store/thread.js").Thread, children: any}} props */
export function MessageList({ thread, children }) {
  useValue(thread.changed);
  const [shown, setShown] = useState(PAGE);
  const box = useRef(null);
  const path = thread.path();
  const first = Math.max(0, path.length - shown);
  const [isAtEnd, scrollToEnd] = useFollow(box, thread);
  const more = () => {
    // What is in view stays where it is.
    const before = box.current.scrollHeight - box.current.scrollTop;
    setShown(shown + PAGE);
    requestAnimationFrame(() => {
      box.current.scrollTop = box.current.scrollHeight - before;
    });
  };
  return html`
    <div class="messages" ref=${box} tabindex="-1" onClick=${copyCode}>
      <div class="column">
        ${first > 0 && html`<button type="button" class="plain earlier" onClick=${more}>Show ${Math.min(PAGE, first)} earlier messages</button>`}
        ${path.slice(first).map((message, index) => html`<${Message} key=${message.id} thread=${thread} message=${message} isLast=${first + index === path.length - 1} />`)}
        ${!path.length && children}
      </div>
      ${!isAtEnd && html`<button type="button" class="icon to-end" aria-label="Go to the end" title="Go to the end" onClick=${scrollToEnd}><${Icon} name="arrowDown" /></button>`}
    </div>`;
}

/** Keeps the end in view while it is; a scroll upwards by the user ends that until the end is in view again. */
function useFollow(box, thread) {
  const [isAtEnd, setAtEnd] = useState(true);
  const follows = useRef(true);
  const scrollToEnd = () => {
    follows.current = true;
    box.current.scrollTop = box.current.scrollHeight;
  };
  const leaf = thread.conversation.leaf;
  const running = useValue(answers).get(leaf);
  // A new question or another branch begins at its end.
  useLayoutEffect(scrollToEnd, [thread, leaf]);
  useLayoutEffect(() => {
    if (follows.current) scrollToEnd();
  });
  useEffect(() => {
    if (!running) return undefined;
    return effect(() => {
      running.tick.value;
      running.phase.value;
      if (follows.current) box.current.scrollTop = box.current.scrollHeight;
    });
  }, [running]);
  useEffect(() => {
    let last = box.current.scrollTop;
    const onScroll = () => {
      const { scrollTop, scrollHeight, clientHeight } = box.current;
      const distance = scrollHeight - scrollTop - clientHeight;
      if (scrollTop < last - 1 && distance > 2) follows.current = false;
      else if (distance < 24) follows.current = true;
      last = scrollTop;
      setAtEnd(distance < 120);
    };
    const onResize = new ResizeObserver(() => follows.current && scrollToEnd());
    box.current.addEventListener("scroll", onScroll, { passive: true });
    onResize.observe(box.current);
    onResize.observe(box.current.firstElementChild);
    const element = box.current;
    return () => {
      element.removeEventListener("scroll", onScroll);
      onResize.disconnect();
    };
  }, [thread]);
  return [isAtEnd, scrollToEnd];
}

/** The buttons of code blocks are not Preact's: their clicks arrive here. */
async function copyCode(event) {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const worked = await copyText(button.closest(".code").querySelector("code").textContent);
  button.textContent = worked ? "Copied" : "Not copied";
  setTimeout(() => {
    button.textContent = "Copy";
  }, COPIED_MS);
}
