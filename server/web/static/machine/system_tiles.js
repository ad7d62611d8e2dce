// CPU, memory, GPUs, and the devices of RPC servers.
import { html } from "../core/html.js";
import { bytes, plural } from "../shared/format.js";
import { Tile } from "./sparkline.js";

const MB = 1 << 20;
const STATUS_WORDS = { busy: "busy", lost: "lost", mismatch: "other version" };

/** @param {{samples: import("./samples.js").Sample[]}} props */
export function SystemTiles({ samples }) {
  const now = samples.at(-1).document;
  const series = (read) => samples.map((sample) => read(sample.document) ?? null);
  return html`
    <div class="tiles">
      <${Tile} title="CPU" value=${`${Math.round(now.cpu.utilization)} %`} top=${100}
        note=${cpuWords(now.cpu)} values=${series((document) => document.cpu.utilization)} />
      <${Tile} title="Memory" value=${`${Math.round(now.memory.percent)} %`} top=${100}
        note=${`${bytes(now.memory.used_mb * MB)} of ${bytes(now.memory.total_mb * MB)}`} values=${series((document) => document.memory.percent)} />
      ${now.gpus.map((gpu, index) => html`
        <${Tile} key=${`load${gpu.index}`} title=${`GPU ${gpu.index}`} top=${100} note=${gpu.name}
          value=${gpu.utilization === null ? "unknown" : `${Math.round(gpu.utilization)} %`}
          values=${series((document) => document.gpus[index]?.utilization)} />
        <${Tile} key=${`memory${gpu.index}`} title=${`Memory of GPU ${gpu.index}`} top=${100}
          value=${gpu.memory.total_mb ? `${Math.round(gpu.memory.percent)} %` : "unknown"}
          note=${gpu.memory.total_mb ? `${bytes(gpu.memory.used_mb * MB)} of ${bytes(gpu.memory.total_mb * MB)}` : ""}
          values=${series((document) => document.gpus[index]?.memory.percent)} />`)}
      ${now.rpc_devices.map((device, index) => html`
        <${Tile} key=${device.name} title=${`Memory of ${device.name}`} top=${100}
          value=${remoteFigure(device)} note=${remoteWords(device)}
          values=${series((document) => document.rpc_devices[index]?.memory?.percent)} />`)}
    </div>`;
}

/** The share of a remote device's memory that is in use, or why it is not known. */
function remoteFigure({ status, memory }) {
  if (!memory) return STATUS_WORDS[status];
  return memory.total_mb ? `${Math.round(memory.percent)} %` : "unknown";
}

function remoteWords({ server, memory, problem }) {
  if (!memory) return problem;
  return memory.total_mb ? `${bytes(memory.used_mb * MB)} of ${bytes(memory.total_mb * MB)} on ${server}` : `on ${server}`;
}

function cpuWords({ cores, frequency }) {
  const speed = frequency.current ? `, ${(frequency.current / 1000).toFixed(1)} GHz` : "";
  return `${plural(cores.logical, "logical core")}${speed}`;
}
