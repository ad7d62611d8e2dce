// Programs that use this server: what to copy into a terminal or a file. docs/clients.md has more clients.

/** The environment variable that the snippets read a key from. */
export const KEY_VARIABLE = "LLAMABIND_API_KEY";

/**
 * @typedef {object} Snippet
 * @property {string} id
 * @property {string} title
 * @property {string} install a command that is needed first, or ""
 * @property {string} text
 */

/**
 * @param {{root: string, model: string, hasKey: boolean}} server `root` is its address without a slash at the end
 * @returns {Snippet[]}
 */
export function snippets(server) {
  return [
    { id: "curl", title: "curl", install: "", text: curl(server) },
    { id: "openai", title: "OpenAI, Python", install: "pip install openai", text: openai(server) },
    { id: "anthropic", title: "Anthropic, Python", install: "pip install anthropic", text: anthropic(server) },
    { id: "ollama", title: "Ollama, Python", install: "pip install ollama", text: ollama(server) },
  ];
}

function curl({ root, model, hasKey }) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  const key = hasKey ? `  -H "Authorization: Bearer $${KEY_VARIABLE}" \\\n` : "";
  return `curl ${shell(`${root}/v1/chat/completions`)} \\\n${key}  -H 'Content-Type: application/json' \\\n  -d ${shell(body)}`;
}

function openai({ root, model, hasKey }) {
  return `${environment(hasKey)}from openai import OpenAI

client = OpenAI(base_url=${text(`${root}/v1`)}, api_key=${key(hasKey)})
answer = client.chat.completions.create(
    model=${text(model)},
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`;
}

function anthropic({ root, model, hasKey }) {
  return `${environment(hasKey)}from anthropic import Anthropic

client = Anthropic(base_url=${text(root)}, api_key=${key(hasKey)})
answer = client.messages.create(
    model=${text(model)},
    max_tokens=200,
    messages=[{"role": "user", "content": "Hello"}],
)
print("".join(part.text for part in answer.content if part.type == "text"))`;
}

function ollama({ root, model, hasKey }) {
  const headers = hasKey ? `,\n    headers={"Authorization": "Bearer " + ${key(true)}},\n` : "";
  const client = hasKey ? `\n    host=${text(root)}${headers}` : `host=${text(root)}`;
  return `${environment(hasKey)}from ollama import Client

client = Client(${client})
answer = client.chat(model=${text(model)}, messages=[{"role": "user", "content": "Hello"}])
print(answer.message.content)`;
}

function environment(hasKey) {
  return hasKey ? "import os\n\n" : "";
}

function key(hasKey) {
  return hasKey ? `os.environ["${KEY_VARIABLE}"]` : '"none"';
}

/** A Python string; JSON's escapes are Python's, too. */
function text(value) {
  return JSON.stringify(value);
}

/** A word of a POSIX shell. */
function shell(value) {
  return /^[\w:/.@%+=,-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
}
