// Runs before the page is drawn, so that a chosen theme never flashes in the other colours.
// A classic script: modules run too late.
const chosenTheme = localStorage.getItem("llamabind.theme");
if (chosenTheme === "light" || chosenTheme === "dark") document.documentElement.dataset.theme = chosenTheme;
