// If the element that has the focus is removed, the focus moves to one near it, for users of the keyboard.

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
