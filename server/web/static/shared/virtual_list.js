// A list that draws only the rows in view, so that thousands of rows cost as much as twenty.
import { html, useLayoutEffect, useRef, useState } from "../core/html.js";

const OVERSCAN = 6;

/**
 * @param {object} props
 * @param {any[]} props.items each with an `id`
 * @param {number} props.rowHeight in pixels, the same for each
 * @param {(item: any) => any} props.row draws one
 * @param {string} props.label
 */
export function VirtualList({ items, rowHeight, row, label }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const measure = () => setView({ top: box.current.scrollTop, height: box.current.clientHeight });
  useLayoutEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(view.top / rowHeight) - OVERSCAN);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / rowHeight) + OVERSCAN);
  return html`
    <div class="virtual" ref=${box} onScroll=${measure}>
      <ul aria-label=${label} style=${{ height: `${items.length * rowHeight}px` }}>
        ${items.slice(first, last).map((item, index) => html`
          <li key=${item.id} aria-setsize=${items.length} aria-posinset=${first + index + 1}
            style=${{ transform: `translateY(${(first + index) * rowHeight}px)`, height: `${rowHeight}px` }}>
            ${row(item)}
          </li>`)}
      </ul>
    </div>`;
}
