// The model in this browser: from the bytes of a picture to the shape in which `fer serve` answers.
import { Cropper } from "./crop.js";
import { decode } from "./pixels.js";
import { YuNet } from "./yunet.js";

const LONGEST = 4000; // px: more than any copy on which faces are sought

export class Predictor {
  // files: (name) => bytes; runtime: the module of ONNX Runtime, ready to make sessions
  static async load(files, runtime) {
    const model = JSON.parse(new TextDecoder().decode(await files("model.json")));
    const open = async (name) => runtime.InferenceSession.create(new Uint8Array(await files(name)), { enableMemPattern: false, logSeverityLevel: 3 });
    const [yunet, network, mouth] = [await open("yunet.onnx"), await open("model.onnx"), await files("mouth.bin")];
    return new Predictor(model, runtime, new YuNet(runtime, yunet, model.yunet), network, new Float32Array(mouth));
  }

  constructor(model, runtime, yunet, network, mouth) {
    Object.assign(this, { model, runtime, yunet, network, cropper: new Cropper(yunet, model, mouth), last: Promise.resolve() });
  }

  // {width, height, faces}; one picture at a time, since they share the processor. Rejects what is no picture.
  predict(blob) {
    const asked = this.last.then(() => this.answer(blob));
    this.last = asked.catch(() => {});
    return asked;
  }

  async answer(blob) {
    const { image, scale } = await decode(blob, LONGEST);
    const faces = await this.yunet.detect(image, this.model.detector), prepared = [];
    for (const face of faces) prepared.push(await this.cropper.prepare(image, face));
    const rows = await this.classify(prepared.filter(({ crop }) => crop).map(({ crop }) => crop));
    const answers = faces.map(({ box, turned }, place) => (
      this.label(box.map((value) => value / scale), turned, prepared[place].missing ?? rows.shift())));
    return { width: Math.round(image.width / scale), height: Math.round(image.height / scale), faces: answers };
  }

  // Probabilities of crops, a row each.
  async classify(crops) {
    if (!crops.length) return [];
    const { size, labels } = this.model, pixels = new Uint8Array(crops.length * 3 * size * size);
    crops.forEach((crop, place) => pixels.set(crop, place * 3 * size * size));
    const input = new this.runtime.Tensor("uint8", pixels, [crops.length, size, size, 3]);
    const { probabilities } = await this.network.run({ crops: input });
    return crops.map((_, place) => [...probabilities.data.slice(place * labels.length, (place + 1) * labels.length)]);
  }

  label(box, turned, row) {
    if (typeof row === "string") return { box, turned, outcome: row, label: null, guess: null, confidence: null, probabilities: {} };
    const { labels, uncertain } = this.model, confidence = Math.max(...row), guess = labels[row.indexOf(confidence)];
    const outcome = confidence < uncertain ? "uncertain" : "answered";
    const probabilities = Object.fromEntries(labels.map((label, place) => [label, row[place]]));
    return { box, turned, outcome, label: outcome === "answered" ? guess : "uncertain", guess, confidence, probabilities };
  }
}
