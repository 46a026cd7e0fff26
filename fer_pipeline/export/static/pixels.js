// Pixels as the Python side has them: {data, width, height}, RGB bytes row by row, resampled as vision/image_io.py,
// vision/cutting.py and vision/turned.py do it, so that the crop is theirs.
const EDGE = 4; // pixels around a square that resampling needs

// Python's round: halves go to the even side.
export function round(value) {
  const low = Math.floor(value), part = value - low;
  return part === 0.5 ? low + (low % 2) : Math.round(value);
}

const blank = (width, height) => ({ data: new Uint8ClampedArray(3 * width * height), width, height });

// The upright photo of a file or a frame, over white where it is clear; larger ones are shrunk to `longest`.
export async function decode(blob, longest) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const image = blank(canvas.width, canvas.height), { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    image.data[to++] = data[from];
    image.data[to++] = data[from + 1];
    image.data[to++] = data[from + 2];
  }
  return { image, scale };
}

// By area when it shrinks, else linearly.
export function resize(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const weigh = width * height < image.width * image.height ? areaWeights : linearWeights;
  const across = weigh(image.width, width), down = weigh(image.height, height);
  const rows = new Float32Array(3 * width * image.height);
  for (let y = 0, to = 0; y < image.height; y += 1) {
    const row = 3 * image.width * y;
    for (const { start, weights } of across) {
      let red = 0, green = 0, blue = 0;
      for (let at = 0, from = row + 3 * start; at < weights.length; at += 1) {
        red += weights[at] * image.data[from++];
        green += weights[at] * image.data[from++];
        blue += weights[at] * image.data[from++];
      }
      rows[to++] = red;
      rows[to++] = green;
      rows[to++] = blue;
    }
  }
  const out = blank(width, height), stride = 3 * width, sums = new Float32Array(stride);
  const half = 1e-3; // rounds halves up, as OpenCV does; a byte array alone would round them to the even side
  down.forEach(({ start, weights }, y) => {
    sums.fill(half);
    for (let at = 0; at < weights.length; at += 1) {
      const weight = weights[at], row = stride * (start + at);
      for (let x = 0; x < stride; x += 1) sums[x] += weight * rows[row + x];
    }
    out.data.set(sums, stride * y);
  });
  return out;
}

// For each pixel of a shrunk line: the first old pixel it covers, and how much it has of each.
function areaWeights(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const low = place * from / to, high = Math.min((place + 1) * from / to, from);
    const start = Math.min(Math.floor(low), from - 1), end = Math.max(Math.ceil(high - 1e-6), start + 1);
    const weights = Array.from({ length: end - start }, (_unused, at) => (
      (Math.min(high, start + at + 1) - Math.max(low, start + at)) / (high - low)));
    return { start, weights };
  });
}

function linearWeights(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const middle = Math.min(Math.max((place + 0.5) * from / to - 0.5, 0), from - 1);
    const start = Math.min(Math.floor(middle), Math.max(from - 2, 0)), part = middle - start;
    return { start, weights: from === 1 ? [1] : [1 - part, part] };
  });
}

// Turned clockwise by a multiple of 90 degrees.
export function turn(image, degrees) {
  if (!degrees) return image;
  const { width, height } = image, swapped = degrees !== 180;
  const out = swapped ? blank(height, width) : blank(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [newX, newY] = degrees === 90 ? [height - 1 - y, x] : degrees === 180 ? [width - 1 - x, height - 1 - y] : [y, width - 1 - x];
      const from = 3 * (y * width + x), to = 3 * (newY * out.width + newX);
      for (let channel = 0; channel < 3; channel += 1) out.data[to + channel] = image.data[from + channel];
    }
  }
  return out;
}

// A box on an image of that size, turned with it.
export function turnBox([left, top, right, bottom], degrees, width, height) {
  const corner = (x, y) => ({ 0: [x, y], 90: [height - y, x], 180: [width - x, height - y], 270: [y, width - x] })[degrees % 360];
  const [[x1, y1], [x2, y2]] = [corner(left, top), corner(right, bottom)];
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)].map(tenth);
}

export const tenth = (value) => round(10 * value) / 10;

export function mirror(image) {
  const out = blank(image.width, image.height);
  for (let y = 0, to = 0; y < image.height; y += 1) {
    for (let x = image.width - 1; x >= 0; x -= 1) {
      const from = 3 * (y * image.width + x);
      for (let channel = 0; channel < 3; channel += 1) out.data[to++] = image.data[from + channel];
    }
  }
  return out;
}

// The pixels of some columns and rows; beyond the border the edge goes on.
export function part(image, left, top, right, bottom) {
  const out = blank(Math.max(right, left + 1) - left, Math.max(bottom, top + 1) - top);
  for (let y = 0, to = 0; y < out.height; y += 1) {
    const row = Math.min(Math.max(top + y, 0), image.height - 1) * image.width;
    for (let x = 0; x < out.width; x += 1) {
      const from = 3 * (row + Math.min(Math.max(left + x, 0), image.width - 1));
      for (let channel = 0; channel < 3; channel += 1) out.data[to++] = image.data[from + channel];
    }
  }
  return out;
}

// A square {x, y, side, angle in degrees}, rotated level, as an image of `size`; beyond the border the edge goes on.
export function cutSquare(photo, square, size) {
  const corners = cornersOf(square), xs = corners.map(([x]) => x), ys = corners.map(([, y]) => y);
  const first = (values, end) => Math.min(Math.floor(Math.max(0, Math.min(...values) - EDGE)), end - 1);
  const last = (values, start, end) => Math.max(Math.ceil(Math.min(end, Math.max(...values) + EDGE)), start + 1);
  const left = first(xs, photo.width), top = first(ys, photo.height);
  let seen = part(photo, left, top, last(xs, left, photo.width), last(ys, top, photo.height));
  let scaleX = 1, scaleY = 1;
  if (square.side > size) { // by area first: single pixels would be picked out of a large photo
    const width = Math.max(1, round(seen.width * size / square.side)), height = Math.max(1, round(seen.height * size / square.side));
    [scaleX, scaleY] = [width / seen.width, height / seen.height];
    seen = resize(seen, width, height);
  }
  const [start, right, below] = [corners[0], corners[1], corners[2]].map(([x, y]) => [(x - left) * scaleX, (y - top) * scaleY]);
  return sample(seen, start, right, below, size);
}

function cornersOf({ x, y, side, angle }) {
  const turned = angle * Math.PI / 180, cos = Math.cos(turned), sin = Math.sin(turned), half = side / 2;
  return [[-half, -half], [half, -half], [half, half], [-half, half]].map(([dx, dy]) => [x + dx * cos - dy * sin, y + dx * sin + dy * cos]);
}

// Linearly, between three corners: upper left, upper right, lower right; at 32nds of a pixel, as OpenCV does.
function sample({ data, width, height }, start, right, below, size) {
  const out = blank(size, size);
  const across = [0, 1].map((axis) => (right[axis] - start[axis]) / size), down = [0, 1].map((axis) => (below[axis] - right[axis]) / size);
  const first = [0, 1].map((axis) => start[axis] + (across[axis] + down[axis]) / 2 - 0.5);
  const fixed = (value) => Math.round(1024 * value);
  const place = (axis, row, column) => Math.floor((fixed(down[axis] * row + first[axis]) + fixed(across[axis] * column) + 16) / 32) / 32;
  const inside = (value, end) => Math.min(Math.max(value, 0), end - 1);
  for (let row = 0, to = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const x = place(0, row, column), y = place(1, row, column);
      const x0 = Math.floor(x), y0 = Math.floor(y), fx = x - x0, fy = y - y0;
      const near = inside(x0, width), far = inside(x0 + 1, width), upper = width * inside(y0, height), lower = width * inside(y0 + 1, height);
      for (let channel = 0; channel < 3; channel += 1) {
        const at = (pixel) => data[3 * pixel + channel];
        out.data[to++] = (1 - fy) * ((1 - fx) * at(upper + near) + fx * at(upper + far))
          + fy * ((1 - fx) * at(lower + near) + fx * at(lower + far));
      }
    }
  }
  return out;
}
