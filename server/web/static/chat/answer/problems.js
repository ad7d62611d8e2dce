// Why an answer failed, in words: a title, the server's sentence, and what to do.
import { ApiError } from "../../core/api.js";
import { sentence } from "../../shared/format.js";
import { failureAdvice, failureTitle } from "../../shared/model_words.js";

/** The parts of an error that are kept with its message. */
export function problemOf(error) {
  if (!(error instanceof ApiError)) return { message: `the page failed: ${error.message}`, code: "page", status: 0 };
  const { message, code, status, document } = error;
  return { message, code, status, reason: document.reason || "", needed: document.n_prompt_tokens, limit: document.n_ctx };
}

const CODES = {
  context_length_exceeded: ["The conversation is too long for this model", "Edit an earlier message, start a new chat, or load the model with a larger context."],
  worker_crashed: ["The model's process ended in mid-answer", "The next request starts it again."],
  rpc_server_lost: ["Another machine of this server was lost", "Try again when it is back."],
  unreachable: ["The connection to the server broke", ""],
  model_not_found: ["The server no longer has this model", "Choose another one."],
  no_model: ["There is no model yet", "Get one in the tab Get a model, then try again."],
  model_not_loaded: ["This model is not loaded", "The server does not load models by itself. Load it in the tab Models."],
  admin_key_required: ["This key may not do that", "Ask the server's operator for an admin key."],
  queue_full: ["The queue is full", "Try again later."],
  page: ["The page failed", "Reload it, and report this if it happens again."],
};

/**
 * @param {{message: string, code: string, status: number, reason?: string}} problem
 * @returns {{title: string, text: string, advice: string, leadsToModels: boolean}}
 */
export function describe(problem) {
  const text = sentence(problem.message);
  if (CODES[problem.code] && problem.reason !== "crash_loop") {
    const [title, advice] = CODES[problem.code];
    return { title, text: problem.code === "unreachable" ? "" : text, advice, leadsToModels: problem.code === "model_not_loaded" };
  }
  if (problem.reason) {
    return { title: failureTitle(problem.reason), text, advice: failureAdvice(problem.reason), leadsToModels: true };
  }
  if (problem.status === 400) return { title: "The server cannot answer this", text, advice: "", leadsToModels: false };
  return { title: "No answer", text, advice: "", leadsToModels: problem.status === 507 };
}
