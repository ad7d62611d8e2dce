// A small line of the last values, newest at the right.
import { html } from "../core/html.js";
import { COUNT } from "./samples.js";

const WIDTH = 120;
const HEIGHT = 28;

/**
 * @param {{values: (number|null)[], top?: number, label: string}} props
 *   `top` is the value at the upper edge; without it the largest value
 */
export function Sparkline({ values, top = 0, label }) {
  const highest = top || Math.max(1, ...values.map((value) => value ?? 0));
  const start = COUNT - values.length;
  const points = values.flatMap((value, index) =>
    value === null ? [] : [[((start + index) / (COUNT - 1)) * WIDTH, HEIGHT - 1 - (Math.min(value, highest) / highest) * (HEIGHT - 2)]]);
  const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const area = points.length > 1 ? `${points[0][0].toFixed(1)},${HEIGHT} ${line} ${WIDTH},${HEIGHT}` : "";
  return html`
    <svg class="sparkline" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${label}>
      ${area && html`<polygon points=${area} />`}
      ${line && html`<polyline points=${line} vector-effect="non-scaling-stroke" />`}
    </svg>`;
}

/**
 * A figure with its sparkline.
 * @param {{title: string, value: string, note?: string, values: (number|null)[], top?: number}} props
 */
export function Tile({ title, value, note = "", values, top }) {
  return html`
    <section class="tile" aria-label=${title}>
      <h3>${title}</h3>
      <p class="figure number">${value}</p>
      <${Sparkline} values=${values} top=${top} label=${`${title} in the last two minutes`} />
      <p class="quiet small number">${note || "\u00a0"}</p>
    </section>`;
}
