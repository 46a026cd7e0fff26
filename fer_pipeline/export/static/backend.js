// Who answers the page: the model in this browser. The page of `fer serve` asks its server through the same exports.
import * as runtime from "../runtime/ort.wasm.bundle.min.mjs";
import { showCard } from "./about.js";
import { Predictor } from "./predictor.js";
import { words } from "./words.js";

Object.assign(words.en, {
  offline: "The model could not be loaded. Load the page again; if that does not help, a file of this folder is missing.",
  bad_image: "This cannot be read as a picture: it is damaged, no picture at all, or of a kind that this browser cannot read.",
  here: "Everything happens in this browser: your pictures are sent nowhere.",
  rates: "{rate} frames/s · {latency} ms a frame", connecting: "Loading …",
  "about.title": "About this model", "about.classes": "Classes", "about.accuracy": "Right on photos it had not seen", "about.data": "Learned from", "about.network": "Network",
  "about.threshold": "Called uncertain below", "about.version": "Made with", "about.licences": "Licences",
  "about.right": "{accuracy} of {count} (95 %: {low} to {high})", "about.images": "{count} images", "about.never": "never",
  "about.fair": "It tells expressions as they look in its training images, not what people feel. Do not decide about people by it.",
});
Object.assign(words.zh, {
  offline: "模型未能载入。请重新载入页面；若仍不行，则是文件夹中缺少文件。",
  bad_image: "无法作为图片读取：文件已损坏、不是图片，或是本浏览器无法读取的格式。",
  here: "一切都在本浏览器中完成：您的图片不会发送到任何地方。",
  rates: "每秒 {rate} 帧 · 每帧 {latency} 毫秒", connecting: "正在载入……",
  "about.title": "关于此模型", "about.classes": "类别", "about.accuracy": "在未见过的照片上的正确率", "about.data": "训练数据", "about.network": "网络",
  "about.threshold": "低于此值则为不确定", "about.version": "制作工具", "about.licences": "许可证",
  "about.right": "{accuracy}，共 {count} 张（95 %：{low} 至 {high}）", "about.images": "{count} 张图片", "about.never": "从不",
  "about.fair": "它识别的是训练图片中表情的样子，而不是人的感受。请勿据此对人作出决定。",
});

// The bytes of an exported file; a page that was opened as a file brings them along (offline.js).
const fetchFile = globalThis.readExported ?? (async (name) => {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.arrayBuffer();
});

let predictor = null;

// The runtime lies there compressed; a host may have unpacked it on the way.
async function readRuntime() {
  const data = new Uint8Array(await fetchFile("runtime/ort-wasm-simd-threaded.wasm.packed"));
  if (data[0] !== 0x1f || data[1] !== 0x8b) return data.buffer;
  return new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// The model, or null if it cannot be loaded.
export async function describe(say) {
  try {
    Object.assign(runtime.env.wasm, { numThreads: 1, wasmBinary: await readRuntime() });
    predictor = await Predictor.load(fetchFile, runtime);
  } catch (error) {
    console.error(error);
    return null;
  }
  showCard(predictor.model, say);
  const { name, labels, uncertain } = predictor.model;
  return { models: [{ name, labels, uncertain }], limits: {} };
}

export async function fetchExample() {
  return fetchFile("example.jpg").then((data) => new Blob([data]), () => null);
}

export const isHere = () => true;

export async function ask(file) {
  if (!predictor) return { problem: "offline" };
  if (!file.size) return { problem: "empty" };
  const result = await predictor.predict(file).catch(() => null);
  if (!result) return { problem: "bad_image" };
  return result.faces.length ? { result } : { problem: "no_face", hint: true };
}

// Stands for the connection to /live: frames in, answers out.
export class Line {
  constructor(_, on) {
    Object.assign(this, { on, isOpen: true, frames: 0 });
    queueMicrotask(() => (predictor ? this.isOpen && on.open() : on.end("offline")));
  }

  async send(frame) {
    const number = this.frames++;
    const answer = await predictor.predict(frame).catch(() => null);
    if (answer && this.isOpen) this.on.answer({ ...answer, frame: number });
  }

  wake() {}

  close() {
    this.isOpen = false;
  }
}
