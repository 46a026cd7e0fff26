// YuNet (Wu et al. 2023) as OpenCV's FaceDetectorYN runs it, and the search for faces as vision/landmarks.py does it.
import { part, resize, round, tenth, turn, turnBox } from "./pixels.js";

const STRIDES = [8, 16, 32];
const OVERLAP = 0.3; // of two boxes of one face
const TURNS = [90, 180, 270];

// Floats (1, 3, height, width), BGR, the sides padded with black to multiples of 32.
function toInput({ Tensor }, { data, width, height }) {
  const wide = 32 * Math.ceil(width / 32), high = 32 * Math.ceil(height / 32), plane = wide * high;
  const values = new Float32Array(3 * plane);
  for (let y = 0, from = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let channel = 2; channel >= 0; channel -= 1) values[channel * plane + y * wide + x] = data[from++];
    }
  }
  return { input: new Tensor("float32", values, [1, 3, high, wide]), wide, high };
}

export class YuNet {
  // numbers: what Python's modules say of thresholds and margins
  constructor(runtime, session, numbers) {
    Object.assign(this, { runtime, session, numbers });
  }

  // The faces of an image, surest first: {box: [x, y, width, height], points: five of [x, y], score}; `overlapping`
  // keeps all boxes of a face.
  async look(image, threshold, overlapping = false) {
    if (Math.min(image.width, image.height) < this.numbers.thin) return [];
    const { input, wide, high } = toInput(this.runtime, image);
    const names = STRIDES.flatMap((stride) => ["cls", "obj", "bbox", "kps"].map((kind) => `${kind}_${stride}`));
    const found = await this.session.run({ input }, names);
    const faces = STRIDES.flatMap((stride) => read(found, stride, wide / stride, high / stride, threshold));
    return overlapping ? faces : suppress(faces.sort((one, other) => other.score - one.score));
  }

  // What two inner layers hold, by which the mouth check decides.
  async features(image) {
    const { input } = toInput(this.runtime, image);
    const found = await this.session.run({ input }, this.numbers.layers);
    return this.numbers.layers.flatMap((name) => [...found[name].data]);
  }

  // The faces of a photo, largest first: {box: [left, top, right, bottom], score, turned}.
  async detect(photo, settings) {
    let faces = await this.findUpright(photo, settings);
    if (!faces.length) faces = await this.findTurned(photo, settings);
    return faces.sort((one, other) => areaOf(other.box) - areaOf(one.box));
  }

  async findUpright(photo, settings) {
    const { smallest, ratio } = this.numbers, sure = (1 + settings.threshold) / 2;
    const faces = [];
    for (const [place, factor] of factorsOf(photo, settings).entries()) {
      let found = await this.findOnCopy(photo, factor, settings.threshold);
      if (place && !faces.length) found = found.filter((face) => face.score >= sure);
      const known = [...faces]; // faces of one copy are not compared with each other
      faces.push(...found.filter((face) => !known.some((one) => isSame(one.box, face.box))));
      const largest = Math.max(0, ...faces.map(({ box }) => box[2] - box[0])) * factor;
      if (faces.length && largest >= ratio * smallest) break;
    }
    const upright = [];
    for (const face of faces) upright.push({ ...face, turned: await this.findTurn(photo, face, settings) });
    return upright;
  }

  async findOnCopy(photo, factor, threshold) {
    return (await this.look(shrunk(photo, factor), Math.max(threshold, this.numbers.least))).map((face) => toFace(face, factor));
  }

  // The faces it is sure of on the smallest copy turned, if any.
  async findTurned(photo, settings) {
    const [factor] = factorsOf(photo, settings), copy = shrunk(photo, factor);
    let best = [];
    for (const degrees of TURNS) {
      const seen = turn(copy, degrees);
      const found = (await this.look(seen, Math.max(settings.threshold, this.numbers.least)))
        .filter(({ score }) => score >= (1 + settings.threshold) / 2);
      if (bestOf(found) <= bestOf(best)) continue;
      best = found.map(({ box: [x, y, width, height], score }) => {
        const box = turnBox([x, y, x + width, y + height], 360 - degrees, seen.width, seen.height);
        return { box: box.map((value) => tenth(value / factor)), score: thousandth(score), turned: degrees };
      });
    }
    return best;
  }

  // How a face it is not sure of is turned: upside-down ones are seen too, but less surely.
  async findTurn(photo, { box: [left, top, right, bottom], score }, settings) {
    const { sure, turnMargin, turnSide, least } = this.numbers;
    if (score >= sure) return 0;
    const half = turnMargin * Math.max(right - left, bottom - top) / 2, x = (left + right) / 2, y = (top + bottom) / 2;
    const around = part(photo, Math.trunc(x - half), Math.trunc(y - half), Math.trunc(x + half), Math.trunc(y + half));
    const seen = resize(around, turnSide, turnSide), scores = {};
    for (const degrees of [0, ...TURNS]) scores[degrees] = bestOf(await this.look(turn(seen, degrees), least));
    const best = [0, ...TURNS].reduce((one, other) => (scores[other] > scores[one] ? other : one));
    return scores[best] > Math.max(scores[0] + 0.05, settings.threshold) ? best : 0;
  }
}

// The cells of one stride whose score reaches the threshold.
function read(found, stride, columns, rows, threshold) {
  const values = (kind) => found[`${kind}_${stride}`].data, clamp = (value) => Math.min(Math.max(value, 0), 1);
  const cls = values("cls"), obj = values("obj"), bbox = values("bbox"), kps = values("kps"), faces = [];
  for (let cell = 0; cell < columns * rows; cell += 1) {
    const score = Math.sqrt(clamp(cls[cell]) * clamp(obj[cell]));
    if (!(score >= threshold)) continue;
    const column = cell % columns, row = Math.floor(cell / columns), at = (place) => bbox[4 * cell + place];
    const width = Math.exp(at(2)) * stride, height = Math.exp(at(3)) * stride;
    const box = [(column + at(0)) * stride - width / 2, (row + at(1)) * stride - height / 2, width, height];
    const points = [0, 2, 4, 6, 8].map((place) => [(kps[10 * cell + place] + column) * stride, (kps[10 * cell + place + 1] + row) * stride]);
    if (box.every(Number.isFinite) && width > 0 && height > 0) faces.push({ box, points, score });
  }
  return faces;
}

// Of boxes of one face the surest; OpenCV compares them in whole pixels.
function suppress(faces) {
  const kept = [];
  for (const face of faces) if (!kept.some((one) => overlap(one.box, face.box) > OVERLAP)) kept.push(face);
  return kept;
}

function overlap(first, second) {
  const [[x1, y1, w1, h1], [x2, y2, w2, h2]] = [first.map(Math.trunc), second.map(Math.trunc)];
  const shared = Math.max(0, Math.min(x1 + w1, x2 + w2) - Math.max(x1, x2)) * Math.max(0, Math.min(y1 + h1, y2 + h2) - Math.max(y1, y2));
  return shared / (w1 * h1 + w2 * h2 - shared) || 0;
}

const thousandth = (value) => round(1000 * value) / 1000;
const bestOf = (faces) => Math.max(0, ...faces.map(({ score }) => score));
const areaOf = ([left, top, right, bottom]) => (right - left) * (bottom - top);

function toFace({ box: [x, y, width, height], score }, factor) {
  return { box: [x, y, x + width, y + height].map((value) => tenth(value / factor)), score: thousandth(score) };
}

function isSame(one, other) {
  const holds = ([left, top, right, bottom], [a, b, c, d]) => {
    const x = (a + c) / 2, y = (b + d) / 2;
    return left <= x && x < right && top <= y && y < bottom;
  };
  return holds(one, other) || holds(other, one);
}

function factorsOf({ width, height }, { sides, enlarge }) {
  const longest = Math.max(width, height), factors = sides.map((side) => (side ? side / longest : 1));
  return [...new Set(enlarge ? factors : factors.map((factor) => Math.min(factor, 1)))];
}

function shrunk(photo, factor) {
  return resize(photo, Math.max(1, round(photo.width * factor)), Math.max(1, round(photo.height * factor)));
}
