// Faces as people see them: a box on the picture, and the answer beside it in words and bars, tied by number and colour.
import { nameOf } from "./words.js";

// White reads on each of them, and each shows on skin.
const COLOURS = ["#0b63ce", "#b3261e", "#1a7f37", "#7a2fd0", "#96540a", "#00706c"];
const MOST_BARS = 8;

export const colourOf = (place) => COLOURS[place % COLOURS.length];

export function percent(value, say) {
  return new Intl.NumberFormat(say.language, { style: "percent" }).format(value);
}

// What stands at a face: "smile", "smile?", or why nothing can be said.
function tagOf(face, say) {
  if (!face.guess || face.outcome === "unknown") return say(face.outcome);
  return face.outcome === "uncertain" ? `${nameOf(face.guess, say)}?` : nameOf(face.guess, say);
}

// The verdict on a face: "smile", "uncertain, perhaps smile", "none of these, most like smile", or why nothing can be said.
export function verdictOf(face, say) {
  if (!face.guess) return say(face.outcome);
  const guess = nameOf(face.guess, say);
  const hedged = { uncertain: "perhaps", unknown: "most_like" }[face.outcome];
  return hedged ? say(hedged, { label: guess }) : guess;
}

// All faces of an answer in one sentence, for those who listen.
export function tellFaces(faces, say) {
  const count = faces.length === 1 ? say("one") : say("many", { count: faces.length });
  const each = faces.map((face) => `${verdictOf(face, say)}${face.guess ? ` ${percent(face.confidence, say)}` : ""}`);
  return [count, ...each].join(", ");
}

export function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

// Lay boxes over a picture, in percent of the upright photo the answer speaks of: any display size will do.
export function showBoxes(layer, answer, say) {
  layer.replaceChildren(...answer.faces.map((face, place) => {
    const [left, top, right, bottom] = face.box;
    const box = make("div", "box");
    box.classList.toggle("unsure", face.outcome !== "answered");
    box.classList.toggle("at-top", top < answer.height * 0.12);
    box.classList.toggle("at-right", left > answer.width * 0.6);
    box.style.setProperty("--face", colourOf(place));
    box.style.left = `${100 * left / answer.width}%`;
    box.style.top = `${100 * top / answer.height}%`;
    box.style.width = `${100 * (right - left) / answer.width}%`;
    box.style.height = `${100 * (bottom - top) / answer.height}%`;
    const tag = box.appendChild(make("span", "tag"));
    if (answer.faces.length > 1) tag.append(make("b", "", String(place + 1)));
    tag.append(make("span", "name", tagOf(face, say)));
    return box;
  }));
}

// Bring a list of faces up to date. What stands there is changed in place, since the webcam does this many times a second.
export function showFaces(list, answer, say) {
  const places = answer.faces.map((face) => whereIs(face, answer));
  const differ = new Set(places).size > 1;
  while (list.children.length > answer.faces.length) list.lastChild.remove();
  answer.faces.forEach((face, place) => {
    const item = list.children[place] ?? list.appendChild(newItem(place));
    const [number, verdict, where, bars] = item.children;
    number.hidden = answer.faces.length === 1;
    verdict.textContent = verdictOf(face, say);
    verdict.classList.toggle("warn", face.outcome !== "answered");
    where.textContent = differ ? say(places[place]) : "";
    showBars(bars, face, say);
  });
}

function newItem(place) {
  const item = make("li");
  item.style.setProperty("--face", colourOf(place));
  item.append(make("b", "number", String(place + 1)), make("strong"), make("span", "soft"), make("ul", "bars"));
  return item;
}

function whereIs(face, answer) {
  const third = Math.floor(3 * (face.box[0] + face.box[2]) / 2 / answer.width);
  return ["left", "middle", "right"][Math.max(0, Math.min(third, 2))];
}

function showBars(list, face, say) {
  let shares = Object.entries(face.probabilities);
  if (shares.length > MOST_BARS) shares = shares.sort((one, other) => other[1] - one[1]).slice(0, MOST_BARS);
  while (list.children.length > shares.length) list.lastChild.remove();
  shares.forEach(([label, share], place) => {
    const row = list.children[place] ?? list.appendChild(newBar());
    const [name, track, value] = row.children;
    row.classList.toggle("best", label === face.guess);
    name.textContent = nameOf(label, say);
    track.firstChild.style.width = `${100 * share}%`;
    value.textContent = percent(share, say);
  });
}

function newBar() {
  const row = make("li");
  const track = make("span", "track");
  track.append(make("span", "fill"));
  row.append(make("span", "name"), track, make("span", "value"));
  return row;
}

// Draw boxes and labels on a canvas that lies over a video.
export function drawFaces(canvas, answer, say) {
  const scale = window.devicePixelRatio;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  answer.faces.forEach((face, place) => {
    const [left, top, right, bottom] = face.box;
    const x = left * width / answer.width, y = top * height / answer.height;
    const wide = (right - left) * width / answer.width, high = (bottom - top) * height / answer.height;
    strokeBox(pen, [x, y, wide, high], colourOf(place), face.outcome !== "answered");
    const number = answer.faces.length > 1 ? `${place + 1} ` : "";
    writeTag(pen, number + tagOf(face, say), [x, y], colourOf(place), width);
  });
}

function strokeBox(pen, box, colour, dashed) {
  pen.setLineDash(dashed ? [8, 6] : []);
  for (const [style, thick] of [["rgb(255 255 255 / 70%)", 5], [colour, 3]]) {
    pen.strokeStyle = style;
    pen.lineWidth = thick;
    pen.strokeRect(...box);
  }
}

function writeTag(pen, text, [x, y], colour, width) {
  pen.font = "600 15px system-ui, sans-serif";
  const wide = pen.measureText(text).width + 12;
  const left = Math.max(0, Math.min(x - 1.5, width - wide)), top = Math.max(0, y - 24);
  pen.fillStyle = colour;
  pen.fillRect(left, top, wide, 24);
  pen.fillStyle = "#fff";
  pen.fillText(text, left + 6, top + 17);
}
