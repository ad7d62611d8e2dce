// The body of a chat request, from the messages of a branch and the conversation's settings.
import { dataUrl } from "../../shared/data_url.js";
import { requestFields } from "../store/settings.js";

/**
 * @param {import("../store/database.js").Message[]} path ends with the message to answer, or, if `continues`, with the answer to continue
 * @param {Record<string, any>} settings
 * @param {boolean} continues
 */
export async function chatBody(path, settings, continues) {
  const messages = [];
  if (settings.system?.trim()) messages.push({ role: "system", content: settings.system });
  for (const message of path) messages.push(await document(message));
  const body = {
    ...requestFields(settings),
    messages,
    return_progress: true,
    stream_options: { include_usage: true },
  };
  if (continues) {
    const last = path[path.length - 1];
    body.continue_final_message = last.content ? "content" : "reasoning_content";
  }
  return body;
}

async function document(message) {
  const made = { role: message.role, content: message.content };
  if (message.role === "tool") made.tool_call_id = message.callId;
  if (message.reasoning) made.reasoning_content = message.reasoning;
  if (message.calls?.length) {
    made.tool_calls = message.calls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: call.arguments },
    }));
  }
  if (message.attachments?.length) {
    const parts = await Promise.all(message.attachments.map(part));
    made.content = message.content ? [...parts, { type: "text", text: message.content }] : parts;
  }
  return made;
}

async function part({ kind, name, type, blob }) {
  if (kind === "text") return { type: "text", text: `${name}:\n\n${await blob.text()}` };
  const url = await dataUrl(blob);
  if (kind === "image") return { type: "image_url", image_url: { url } };
  return { type: "input_audio", input_audio: { data: url.slice(url.indexOf(",") + 1), format: /wav/.test(type) ? "wav" : "mp3" } };
}
