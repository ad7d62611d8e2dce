// Images, audio and texts that the user pastes, drops or chooses.
import { html, useEffect, useState } from "../core/html.js";
import { Icon } from "../shared/icon.js";

const MIB = 1 << 20;
// The server takes bodies of 32 MB, and base64 makes a file a third larger.
const LARGEST = 20 * MIB;
const TEXT = /^text\/|^application\/(?:json|xml|x-yaml|javascript)$/;
const TEXT_NAME = /\.(?:txt|md|csv|tsv|json|ya?ml|toml|ini|xml|html?|css|js|ts|py|rs|go|c|h|cpp|java|sh|sql|log)$/i;

/**
 * @param {Iterable<File>} files
 * @returns {{attachments: import("./store/database.js").Attachment[], problems: string[]}}
 */
export function readFiles(files) {
  const attachments = [];
  const problems = [];
  for (const file of files) {
    const kind = kindOf(file);
    const name = file.name || `pasted ${kind}`;
    if (!kind) problems.push(`${name} is neither an image, audio nor a text.`);
    else if (file.size > LARGEST) problems.push(`${name} has ${Math.ceil(file.size / MIB)} MB; the limit is ${LARGEST / MIB} MB.`);
    else attachments.push({ kind, name, type: file.type, blob: file });
  }
  return { attachments, problems };
}

function kindOf(file) {
  if (file.type.startsWith("image/")) return "image";
  if (file.type.startsWith("audio/")) return "audio";
  return TEXT.test(file.type) || TEXT_NAME.test(file.name) ? "text" : "";
}

/** Why the model cannot take these attachments, as a sentence; "" if it can, or if that is not known. */
export function whyNotTaken(attachments, facts) {
  if (!facts) return "";
  if (facts.vision === false && attachments.some((one) => one.kind === "image")) return "This model takes no images: choose one with a projector.";
  if (facts.audio === false && attachments.some((one) => one.kind === "audio")) return "This model takes no audio: choose one with a projector for audio.";
  return "";
}

/** @param {{attachments: import("./store/database.js").Attachment[], onRemove?: (index: number) => void}} props */
export function Attachments({ attachments, onRemove }) {
  if (!attachments?.length) return null;
  return html`
    <ul class="attachments" aria-label="Attachments">
      ${attachments.map((one, index) => html`
        <li key=${index}>
          <${Preview} attachment=${one} />
          ${onRemove && html`
            <button type="button" class="icon" aria-label=${`Remove ${one.name}`} onClick=${() => onRemove(index)}><${Icon} name="close" /></button>`}
        </li>`)}
    </ul>`;
}

function Preview({ attachment: { kind, name, blob } }) {
  const [url, setUrl] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  if (kind === "image") return url && html`<img src=${url} alt=${name} />`;
  if (kind === "audio") return url && html`<audio controls src=${url} aria-label=${name}></audio>`;
  return html`<span class="file"><${Icon} name="paperclip" />${name}</span>`;
}
