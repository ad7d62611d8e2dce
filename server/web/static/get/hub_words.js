// What to do about each error of the hub and of downloads (docs/downloads.md lists the codes).

const ADVICE = {
  hub_not_installed: "Run this in the server's environment, then start the server again.",
  offline: "Start it without --offline and HF_HUB_OFFLINE to download. Models on its disk work as before.",
  hub_not_found: "Check the spelling of the name.",
  hub_gated: "The token belongs to the server: export HF_TOKEN=hf_… where it is started, and start it again.",
  hub_unreachable: "Check the server's network and proxy, or HF_ENDPOINT if it uses a mirror. A download continues where it stopped.",
  hub_rate_limited: "With a token (HF_TOKEN) the hub allows more requests.",
  insufficient_disk_space: "Models that are no longer needed can be deleted in the tab Models.",
  cache_not_writable: "The server's user needs permission to write to the hub's cache (HF_HUB_CACHE).",
};

/** What to do about an error with this code; "" without advice. */
export function hubAdvice(code) {
  return ADVICE[code] || "";
}

const FITS = {
  yes: ["good", "fits"],
  partly: ["warn-text", "fits in part"],
  no: ["error", "too large"],
};

/** Class and words for `fits` of a file on a hub; null if it is unknown. */
export function fitWords(fits) {
  return FITS[fits] || null;
}

export const FIT_HELP =
  "Whether the model's size plus 10% fits into the free memory of the GPUs, or of the host if it has no GPU. " +
  "In part: it needs both, which is slower.";

/** "org/repo" if a text names a repository, with or without a host or a quantisation; else "". */
export function repositoryOf(text) {
  const found = /^(?:https?:\/\/)?(?:(?:www\.)?(?:huggingface\.co|hf\.co)\/)?(\w[\w.-]*\/\w[\w.-]*)(?:[:@/].*)?$/.exec(text.trim());
  return found ? found[1] : "";
}
