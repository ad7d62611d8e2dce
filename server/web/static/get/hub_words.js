// What to do about each error of the hub and of downloads (docs/api.md lists the codes).

const ADVICE = {
  hub_not_installed: "Install it in the server's environment, then start the server again.",
  offline: "Start the server without --offline and without HF_HUB_OFFLINE to download models. Models on its disk work as before.",
  hub_not_found: "Check the spelling. A private repository is found only with a token: start the server with HF_TOKEN=hf_… in its environment, or with -hft.",
  hub_gated: "Accept the conditions on the repository's page at the hub, then start the server with HF_TOKEN=hf_… of the same account in its environment, or with -hft.",
  hub_unreachable: "Check the server's network and proxy, or HF_ENDPOINT if it uses a mirror. A download goes on where it stopped.",
  hub_rate_limited: "Wait a moment. With a token (HF_TOKEN) the hub allows more requests.",
  hub_corrupt: "The file did not match the hub's checksum and was discarded. Download it again.",
  insufficient_disk_space: "Delete models that you no longer need, or set HF_HUB_CACHE to a folder on a larger disk and start the server again.",
  cache_not_writable: "The server's user needs permission to write to the hub's cache (HF_HUB_CACHE).",
  too_many_downloads: "Wait until some downloads have ended, or cancel them.",
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
  "Whether the model's size and a tenth more fit into free memory: on the GPUs, or without a GPU in host memory. " +
  "In part: on both together, which is slower.";

/** "org/repo" if a text names a repository, with or without a host or a quantisation; else "". */
export function repositoryOf(text) {
  const found = /^(?:https?:\/\/)?(?:(?:www\.)?(?:huggingface\.co|hf\.co)\/)?([\w.-]+\/[\w.-]+)(?:[:@/].*)?$/.exec(text.trim());
  return found ? found[1] : "";
}
