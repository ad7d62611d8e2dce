// Icons as SVG lines in the colour of the text around them.
import { html } from "../core/html.js";

const LINES = {
  arrowDown: "M12 5v14M6 13l6 6 6-6",
  auto: "M12 3a9 9 0 0 0 0 18zM12 3a9 9 0 0 1 0 18",
  branch: "M6 4v16M6 14c0-4 12-2 12-8M15 8l3-3 3 3",
  check: "M5 13l4 4L19 7",
  chevronDown: "M6 9l6 6 6-6",
  chevronLeft: "M14 6l-6 6 6 6",
  chevronRight: "M10 6l6 6-6 6",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  edit: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  export: "M12 15V4M7 8l5-5 5 5M5 14v6h14v-6",
  import: "M12 4v11M7 11l5 5 5-5M5 14v6h14v-6",
  logo: "M7 4v16M7 16h5a4 4 0 0 0 0-8h-1M17 8v12h3",
  menu: "M4 7h16M4 12h16M4 17h16",
  moon: "M20 14a8 8 0 1 1-10-10 7 7 0 0 0 10 10z",
  paperclip: "M20 11l-8 8a5 5 0 0 1-7-7l8-8a3.5 3.5 0 0 1 5 5l-8 8a2 2 0 0 1-3-3l7-7",
  pin: "M9 3h6l-1 7 4 4H6l4-4zM12 14v7",
  play: "M8 5l11 7-11 7z",
  plus: "M12 5v14M5 12h14",
  refresh: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l5 5",
  send: "M12 20V5M6 11l6-6 6 6",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M14 4v6M6 14v6",
  stop: "M7 7h10v10H7z",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M5 19l1.5-1.5M17.5 6.5L19 5",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.5",
};

/** @param {{name: keyof typeof LINES}} props */
export function Icon({ name }) {
  return html`<svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${LINES[name]} /></svg>`;
}
