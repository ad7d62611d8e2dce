// Text for screen readers: the text of a call is read out after the texts of earlier calls.
const MOST = 20;
let region = null;

/** @param {string} text */
export function announce(text) {
  if (!text.trim()) return;
  if (!region) {
    region = document.createElement("div");
    region.className = "visually-hidden";
    region.setAttribute("aria-live", "polite");
    region.setAttribute("role", "log");
    document.body.append(region);
  }
  const line = document.createElement("p");
  line.textContent = text;
  region.append(line);
  while (region.childElementCount > MOST) region.firstElementChild.remove();
}
