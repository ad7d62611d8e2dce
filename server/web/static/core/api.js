// Requests to the server's documented API. Errors are ApiError objects.
import { key, keyNeeded } from "./session.js";
import { readEvents } from "./sse.js";

/** The URL of the server's root, with the prefix of --api-prefix: that of the page. */
export const ROOT = new URL("./", location.href);

/** An answer that is an error, or no answer. */
export class ApiError extends Error {
  /**
   * @param {string} message a sentence for the user
   * @param {{status?: number, code?: string, retryAfter?: number, document?: object}} [more]
   *   `status` 0 and code "unreachable": no answer; `document`: all fields of the server's error
   */
  constructor(message, { status = 0, code = "", retryAfter = 0, document = {} } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.document = document;
  }
}

/** The path of a model's endpoint, such as modelPath("org/m.gguf", "/load"). */
export function modelPath(id, rest = "") {
  return `api/v2/models/${encodeURIComponent(id)}${rest}`;
}

/**
 * Send a request and return the JSON of the answer.
 * @param {string} method
 * @param {string} path relative to the server's root, such as "api/v2/models"
 * @param {{body?: any, signal?: AbortSignal, headers?: Record<string, string>}} [options]
 * @returns {Promise<any>}
 * @throws {ApiError}
 */
export async function request(method, path, options = {}) {
  const response = await send(method, path, options);
  return response.json();
}

export const get = (path, options) => request("GET", path, options);
export const post = (path, body, options) => request("POST", path, { ...options, body });

/**
 * Send a request and yield the JSON of each server-sent event; "[DONE]" ends the stream.
 * @param {string} method
 * @param {string} path
 * @param {{body?: any, signal?: AbortSignal}} [options]
 * @returns {AsyncGenerator<any>}
 * @throws {ApiError} also when the connection breaks: code "unreachable"
 */
export async function* stream(method, path, options = {}) {
  const headers = { Accept: "text/event-stream" };
  const response = await send(method, path, { ...options, headers });
  try {
    for await (const data of readEvents(response.body)) {
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  } catch (error) {
    throw asApiError(error);
  }
}

/** The error of a stream's event `{"error": {...}}`. */
export function errorOfEvent(document) {
  const { message, code, retry_after: retryAfter = 0 } = document.error;
  return new ApiError(message, { status: 200, code: code || "", retryAfter, document: document.error });
}

async function send(method, path, { body, signal, headers }) {
  const all = { "X-Client": "web-page", ...headers };
  const sent = key.peek();
  // Keys may have characters that a header cannot: their UTF-8 bytes are sent.
  if (sent) all["X-Api-Key"] = String.fromCharCode(...new TextEncoder().encode(sent));
  if (body !== undefined) all["Content-Type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  let response;
  try {
    response = await fetch(new URL(path, ROOT), { method, signal, headers: all, body: text, credentials: "same-origin" });
  } catch (error) {
    throw asApiError(error);
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (response.status === 401 && sent === key.peek()) keyNeeded.value = sent ? "wrong" : "missing";
  throw error;
}

async function errorOf(response) {
  let document = {};
  try {
    document = (await response.json()).error || {};
  } catch {
    // Not the server's own document: a proxy's page, or a broken connection.
  }
  const message = document.message || `the server answered ${response.status} ${response.statusText}`;
  const retryAfter = Number(response.headers.get("Retry-After")) || document.retry_after || 0;
  return new ApiError(message, { status: response.status, code: document.code || "", retryAfter, document });
}

function asApiError(error) {
  if (error instanceof ApiError || error.name === "AbortError") return error;
  if (error instanceof SyntaxError) return new ApiError("the server sent an event that is not JSON");
  return new ApiError("the server does not answer", { code: "unreachable" });
}
