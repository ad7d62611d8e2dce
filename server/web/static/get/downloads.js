// All downloads of the server, kept current by its events.
import { get, post, request } from "../core/api.js";
import { onEvent } from "../core/events.js";
import { signal } from "../core/html.js";

/**
 * @typedef {object} Download
 * @property {string} id
 * @property {string} model such as "org/repo:Q4_K_M"
 * @property {string} repo
 * @property {{file: string, bytes: number, bytes_done: number}[]} files
 * @property {"queued"|"running"|"completed"|"failed"|"cancelled"} state
 * @property {number} bytes_total
 * @property {number} bytes_done
 * @property {number} bytes_per_second
 * @property {number|null} eta_seconds
 * @property {{code: string, message: string}|null} error
 * @property {string|null} model_id once it is completed
 */

/** The downloads, the newest first; null before the first answer. @type {{value: Download[]|null}} */
export const downloads = signal(null);

/** Downloads that the user removed from the list. */
const hidden = new Set();

/** How often a download was put into the list or replaced there, and at which of these changes each one. */
let changes = 0;
const changedAt = new Map();

onEvent((event) => {
  if (event.type === "download") put(event.download);
  // After a lost connection events are missing; the downloads of deleted models are no longer listed.
  const isOld = event.type === "snapshot" || event.type === "lagged" || isDeletion(event);
  if (isOld && downloads.peek()) readDownloads().catch(() => {});
});

/** Whether an event says that models were deleted. */
export function isDeletion(event) {
  return event.type === "models_changed" && event.removed.length > 0;
}

/** Read the list. @throws {ApiError} */
export async function readDownloads() {
  const began = changes;
  const list = await get("api/v2/downloads");
  const listed = list.data.filter((one) => !hidden.has(one.id)).reverse();
  // What events and actions have brought meanwhile is newer.
  const newer = (downloads.peek() || []).filter((one) => changedAt.get(one.id) > began);
  const isListed = (one) => listed.some((other) => other.id === one.id);
  downloads.value = [
    ...newer.filter((one) => !isListed(one)),
    ...listed.map((one) => newer.find((other) => other.id === one.id) || one),
  ];
}

/** Start a download, or continue one that was paused or failed. @throws {ApiError} */
export async function start(model, file) {
  const begun = await post("api/v2/downloads", { model, file });
  // The earlier download of the same file is no longer listed.
  downloads.value = (downloads.peek() || []).filter((one) => !isSame(one, begun));
  put(begun);
  return begun;
}

/** End a download and keep its part, from which `start` continues. @throws {ApiError} */
export async function pause(download) {
  put(await request("DELETE", path(download)));
}

/** End a download and delete its part. @throws {ApiError} */
export async function discard(download) {
  await request("DELETE", `${path(download)}?discard=true`);
  hide(download);
}

/** Remove an ended download from the list of this page. */
export function hide(download) {
  hidden.add(download.id);
  downloads.value = (downloads.peek() || []).filter((one) => one.id !== download.id);
}

/** Whether a download is on its way. */
export function isActive({ state }) {
  return state === "queued" || state === "running";
}

/** The download of a file of a repository, if there is one. */
export function downloadOf(list, repo, file) {
  return (list || []).find((one) => one.repo === repo && one.files[0]?.file === file);
}

function put(download) {
  if (hidden.has(download.id)) return;
  changedAt.set(download.id, ++changes);
  const list = downloads.peek() || [];
  const isKnown = list.some((one) => one.id === download.id);
  downloads.value = isKnown ? list.map((one) => (one.id === download.id ? download : one)) : [download, ...list];
}

function isSame(one, other) {
  return one.id !== other.id && one.repo === other.repo && one.files[0]?.file === other.files[0]?.file && !isActive(one);
}

function path({ id }) {
  return `api/v2/downloads/${encodeURIComponent(id)}`;
}
