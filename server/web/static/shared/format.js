// Numbers, sizes and times as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** A number of bytes, 1024-based as in the API: "4.5 GB". */
export function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  let value = Math.max(0, count);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** A whole number with separators: "131,072". */
export function integer(count) {
  return count === null || count === undefined ? "unknown" : Math.round(count).toLocaleString("en");
}

/** A rate: two digits below 10, then whole. */
export function rate(value) {
  return value < 10 ? value.toFixed(1) : integer(value);
}

/** A number of parameters: "135M", "8.0B". */
export function parameters(count) {
  if (!count) return "";
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
    if (count >= size) return `${(count / size).toFixed(count < 10 * size ? 1 : 0)}${letter}`;
  }
  return String(count);
}

/** A duration in seconds: "45 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  const minutes = Math.floor((whole % 3600) / 60);
  return `${Math.floor(whole / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
}

const DAY = { day: "numeric", month: "short", year: "numeric" };

/** A time of the API in the reader's zone: "1 Dec 2026, 20:15". */
export function dateTime(iso) {
  return timeWords(iso, { ...DAY, hour: "2-digit", minute: "2-digit" });
}

/** The day of a time: "1 Dec 2026". */
export function day(iso) {
  return timeWords(iso, DAY);
}

function timeWords(iso, form) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString("en-GB", form);
}

/** A sentence of the server with a capital at its beginning: its errors begin in lower case. */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "1 file", "3 files". */
export function plural(count, word) {
  return `${integer(count)} ${word}${count === 1 ? "" : "s"}`;
}
