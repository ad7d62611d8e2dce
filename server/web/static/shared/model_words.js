// The states of a model and the reasons of its failures in words (docs/models.md, "States").

const STATES = {
  unloaded: "On disk",
  queued: "Waiting to load",
  loading: "Loading",
  loaded: "Loaded",
  draining: "Finishing its answers",
  failed: "Failed",
  broken: "Unusable file",
};

const FAILURES = {
  out_of_memory: [
    "Not enough memory",
    "Load it with a smaller context, fewer requests at once or a quantised cache such as q8_0, or unload another model first.",
  ],
  unsupported_architecture: [
    "Unknown architecture",
    "This version of llama.cpp does not know the model. Update llamabind, or choose another model.",
  ],
  corrupt_file: ["Damaged file", "The file is damaged or incomplete. Download or copy it again."],
  missing_shard: ["A part is missing", "Copy the missing part into the folder of the other parts."],
  missing_file: ["A file is missing", "Put the file back, or remove it from the server's settings."],
  invalid_parameter: ["A setting is wrong", "Change the setting that the message names."],
  crashed: [
    "Its process crashed",
    "Load it again. If it crashes again, load it with a smaller context; the log below says where it stopped.",
  ],
  crash_loop: [
    "It crashed repeatedly",
    "Requests do not start it any more. Load it with other settings to try again.",
  ],
  unsupported_cpu: [
    "This CPU lacks instructions",
    "The libraries were built for a newer CPU. Build them on this machine, or install the portable wheel.",
  ],
  rpc_server_lost: [
    "Another machine does not answer",
    "Start llamabind rpc-server there again. The next request then loads the model.",
  ],
  rpc_server_busy: [
    "Another machine serves another client",
    "Unload the model that uses it, or run llamabind rpc-server there, which serves several.",
  ],
  rpc_server_mismatch: [
    "Another machine has another version",
    "Install the same version of llamabind on both machines.",
  ],
  timeout: [
    "The load took too long",
    "Start the server with a higher --load-timeout, or put the file on a faster disk.",
  ],
  memory_busy: [
    "Busy models hold the memory",
    "Try again when their answers have ended, or unload one of them.",
  ],
  too_many_models: [
    "Too many loaded models",
    "--models-max is reached, and all loaded models are pinned. Unload one of them first.",
  ],
  cancelled: ["Cancelled", "The model was unloaded while it was loading. Load it again if you need it."],
};

/** A state in words. */
export function stateWords(status) {
  return STATES[status] || status;
}

/** The headline of a failure. */
export function failureTitle(reason) {
  return FAILURES[reason]?.[0] || "It could not be loaded";
}

/** What to do about a failure; "" where only its log can tell. */
export function failureAdvice(reason) {
  return FAILURES[reason]?.[1] || "";
}

/** Whether a model in this state is being loaded. */
export function isLoading(status) {
  return status === "queued" || status === "loading";
}

/** Whether a model in this state is in memory. */
export function isInMemory(status) {
  return status === "loaded" || status === "draining";
}

/** A model's name without folders and ending, for headings. */
export function shortName(id) {
  return id.split("/").pop().replace(/\.gguf$/i, "");
}
