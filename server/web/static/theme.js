// Runs before the page is drawn, so that a chosen theme never flashes in the other colours.
// A classic script: modules run too late.
try {
  const chosen = localStorage.getItem("llamabind.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // The browser blocks storage: the page has the system's colours.
}
