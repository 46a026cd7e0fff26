// From a face to its crop by five points, as vision/five.py and vision/crop.py do it.
import { cutSquare, mirror, resize, turn, turnBox } from "./pixels.js";

const mean = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
const length = ([x1, y1], [x2, y2]) => Math.max(Math.hypot(x2 - x1, y2 - y1), 1);
const angleOf = ([[x1, y1], [x2, y2]]) => Math.atan2(y2 - y1, x2 - x1) * 180 / Math.PI;

function rotate([x, y], degrees) {
  const cos = Math.cos(degrees * Math.PI / 180), sin = Math.sin(degrees * Math.PI / 180);
  return [x * cos - y * sin, x * sin + y * cos];
}

function spreadOf(points) {
  const [x, y] = mean(points);
  return Math.max(Math.sqrt(points.reduce((sum, point) => sum + (point[0] - x) ** 2 + (point[1] - y) ** 2, 0) / points.length), 1);
}

export class Cropper {
  // model: what the exported model.json says; mouth: weights of the mouth check
  constructor(yunet, model, mouth) {
    Object.assign(this, { yunet, cut: model.cut, five: model.five, check: { ...model.check, weights: mouth } });
  }

  // The crop of a face, or `missing`: why it would show no mouth.
  async prepare(photo, face) {
    const { cut } = this;
    if (cut.region === "whole") return { crop: this.toInput(cutSquare(photo, squareOf(face.box), cut.size)) };
    const upright = turn(photo, face.turned), box = turnBox(face.box, face.turned, photo.width, photo.height);
    const points = await this.find(upright, box);
    const missing = cut.mouthCheck ? await this.findMissing(upright, points) : null;
    if (missing) return { missing };
    if (!points) return { crop: this.toInput(cutSquare(upright, squareOf(box), cut.size)) };
    const { x, y, length: scale, angle } = this.measure(points, cut.region, cut.scale);
    const square = { x, y, side: Math.max(scale * cut.margin, 4), angle: cut.align ? angle : 0 };
    return { crop: this.toInput(cutSquare(upright, square, cut.size)) };
  }

  toInput(crop) {
    return resize(crop, this.cut.input, this.cut.input).data;
  }

  async find(photo, box) {
    const { aroundBox, aroundPoints } = this.five;
    const { x, y, side } = squareOf(box);
    const points = await this.look(photo, { x, y, side: aroundBox * side, angle: 0 });
    if (!points) return null;
    const [middleX, middleY] = mean(points);
    const square = { x: middleX, y: middleY, side: aroundPoints * spreadOf(points), angle: angleOf(points) };
    const plain = await this.look(photo, square) ?? points, mirrored = await this.look(photo, square, true) ?? points;
    return plain.map((point, place) => mean([point, mirrored[place]]));
  }

  async look(photo, square, mirrored = false) {
    const { side, least, near } = this.five, cut = cutSquare(photo, square, side);
    const isNear = ({ box: [x, y, width, height] }) => Math.max(Math.abs(x + (width - side) / 2), Math.abs(y + (height - side) / 2)) < near * side;
    const faces = (await this.yunet.look(mirrored ? mirror(cut) : cut, least, true)).filter(isNear);
    if (!faces.length) return null;
    const weights = faces.map(({ score }) => score - least + 1e-6), all = weights.reduce((sum, weight) => sum + weight, 0);
    const average = (place, axis) => faces.reduce((sum, { points }, face) => sum + weights[face] * points[place][axis], 0) / all;
    const found = [0, 1, 2, 3, 4].map((place) => [average(place, 0), average(place, 1)]);
    const points = mirrored ? [1, 0, 2, 4, 3].map((place) => [side - found[place][0], found[place][1]]) : found;
    return points.map((point) => {
      const [x, y] = rotate(point.map((value) => (value / side - 0.5) * square.side), square.angle);
      return [x + square.x, y + square.y];
    });
  }

  // Where a region's middle lies, and how long what its square is scaled by is.
  measure(points, region, scale) {
    const { eyes, lipsWidth, lipsDown, faceSide, faceDown } = this.five, lips = region === "lips";
    const apart = length(points[0], points[1]), angle = angleOf(points);
    const [middleX, middleY] = mean(lips ? points.slice(3) : points), [dx, dy] = rotate([0, (lips ? lipsDown : faceDown) * apart], angle);
    const longer = lips ? lipsWidth * length(points[3], points[4]) : faceSide * spreadOf(points);
    return { x: middleX + dx, y: middleY + dy, length: scale === "eyes" ? eyes * apart : longer, angle };
  }

  async findMissing(photo, points) {
    const { cut, check } = this;
    if (!points) return "mouth_hidden";
    if (this.beyond(points, photo) > this.five.beyond[cut.region]) return "mouth_outside";
    if (cut.region !== "lips") return null;
    const { x, y, length: scale, angle } = this.measure(points, "lips", "eyes");
    const features = await this.yunet.features(cutSquare(photo, { x, y, side: check.margin * scale, angle }, check.side));
    const score = features.reduce((sum, value, place) => sum + value * check.weights[place], check.bias);
    return score < check.least ? "mouth_hidden" : null;
  }

  // The share of the lips or the face that lies beyond the border of the photo.
  beyond(points, photo) {
    const { x, y, length: longer } = this.measure(points, this.cut.region, "mouth");
    const high = this.cut.region === "lips" ? this.five.lipsHalf * length(points[0], points[1]) : longer / 2;
    const inside = (middle, reach, end) => Math.max(0, Math.min(middle + reach, end) - Math.max(middle - reach, 0)) / (2 * reach);
    return 1 - inside(x, longer / 2, photo.width) * inside(y, high, photo.height);
  }
}

function squareOf([left, top, right, bottom]) {
  return { x: (left + right) / 2, y: (top + bottom) / 2, side: Math.max(right - left, bottom - top), angle: 0 };
}
