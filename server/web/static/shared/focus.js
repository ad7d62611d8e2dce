// What the focus was on may be removed; the keyboard goes on from a place near it.

/**
 * After the next drawing: focus the element of `selector`, if the focus was lost.
 * @param {string} selector
 */
export function focusIfLost(selector) {
  requestAnimationFrame(() => {
    const { activeElement } = document;
    if (!activeElement || activeElement === document.body) document.querySelector(selector)?.focus();
  });
}
