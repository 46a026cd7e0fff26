// The page of `fer collect`: frames go out while a class is held, and what became of them comes back.
import { speak } from "../static/language.js";
import { words } from "./words.js";
import { Camera } from "./camera.js";
import { watchHolds } from "./hold.js";

const PAUSE = 120; // ms between two frames
const say = speak(words);
const at = (id) => document.getElementById(id);
const camera = new Camera(at("video"));
let socket = null;
let state = null;
let last = null; // the last answer, told in either language
let trouble = null; // [key, values] or plain text
let sending = false;
let holds = 0; // how often a class was held

function connect() {
  const own = new WebSocket(new URL("session", location.href).href.replace(/^http/, "ws"));
  socket = own;
  own.addEventListener("open", () => { trouble = null; show(); });
  own.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  own.addEventListener("close", () => {
    if (typeof trouble !== "string") trouble = ["lost"];
    show();
    setTimeout(connect, 1000);
  });
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(message);
}

function hear(message) {
  if (message.detail) trouble = message.detail;
  if (message.state) state = message.state;
  if (message.outcome) {
    last = message;
    drawBox(message);
  }
  show();
  if (message.outcome === "kept") flash(message.label);
}

const held = watchHolds(at("classes"), (label) => {
  holds += 1;
  send(JSON.stringify({ hold: label }));
  last = null;
  show();
  sendFrames();
}, () => {
  send(JSON.stringify({ hold: null }));
  drawBox(null);
  show();
});

async function sendFrames() {
  if (sending) return;
  sending = true;
  while (held() !== null && camera.runs && socket.readyState === WebSocket.OPEN) {
    if (socket.bufferedAmount === 0) {
      const own = holds;
      const frame = await camera.frame(); // null if the browser could not make one
      if (frame && held() !== null && own === holds) send(frame); // else it shows the face of another class
    }
    await new Promise((done) => setTimeout(done, PAUSE));
  }
  sending = false;
}

async function toggleCamera() {
  if (camera.stream) {
    camera.stop();
  } else if (!navigator.mediaDevices) {
    trouble = ["insecure"];
  } else {
    try {
      await camera.start();
      trouble = null;
    } catch (error) {
      camera.stop();
      trouble = ["noCamera", { reason: error.message }];
    }
  }
  show();
}

function show() {
  showTrouble();
  const on = camera.stream !== null;
  at("camera").textContent = say(on ? "stop" : "start");
  at("camera").dataset.say = on ? "stop" : "start";
  at("dark").hidden = on;
  at("view").classList.toggle("holding", held() !== null && on);
  if (state === null) {
    at("status").textContent = say("connecting");
    return;
  }
  showClasses(on);
  showTally();
  showRecent();
  at("status").textContent = tell(on);
}

function showTrouble() {
  at("trouble").hidden = trouble === null;
  at("trouble").textContent = Array.isArray(trouble) ? say(...trouble) : trouble ?? "";
}

function tell(on) {
  if (last !== null) {
    const own = state.classes.find((one) => one.label === last.label);
    return say(`tell_${last.outcome}`, { label: last.label, kept: own?.kept, target: state.target });
  }
  if (held() !== null) return say("holding", { label: held() });
  return on ? say("ready") : "";
}

function showClasses(on) {
  const list = at("classes");
  if (list.children.length !== state.classes.length) {
    list.replaceChildren(...state.classes.map((one, index) => classItem(one.label, index)));
  }
  state.classes.forEach((one, index) => {
    const button = list.children[index].firstElementChild;
    button.disabled = !on;
    button.setAttribute("aria-pressed", String(held() === one.label));
    button.dataset.full = String(one.kept >= state.target);
    const before = one.before ? ` · ${say("before", { before: one.before })}` : "";
    button.querySelector(".count").textContent = say("count", { kept: one.kept, target: state.target }) + before;
    const bar = button.querySelector("progress");
    bar.max = state.target;
    bar.value = one.kept;
    bar.setAttribute("aria-label", one.label);
  });
}

function classItem(label, index) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "hold";
  button.dataset.class = label;
  const name = document.createElement("span");
  name.className = "name";
  const title = document.createElement("b");
  title.textContent = label;
  const count = document.createElement("span");
  count.className = "count";
  name.append(title, count);
  if (index < 9) {
    button.dataset.key = String(index + 1);
    const key = document.createElement("kbd");
    key.textContent = String(index + 1);
    name.prepend(key);
  }
  button.append(name, document.createElement("progress"));
  item.append(button);
  return item;
}

function showTally() {
  const reasons = Object.entries(state.refused).map(([reason, count]) => say(reason, { count }));
  at("tally").textContent = reasons.length ? say("refused", { reasons: reasons.join(say.language === "zh" ? "，" : ", ") }) : "";
  at("session").textContent = state.session ? say("session", { name: state.session }) : say("noSitting");
  at("undo").disabled = !state.classes.some((one) => one.kept > 0);
  at("end").disabled = !state.session;
}

function showRecent() {
  at("none").hidden = state.recent.length > 0;
  const list = at("recent");
  const known = new Map([...list.children].map((item) => [item.dataset.photo, item]));
  list.replaceChildren(...state.recent.map((one) => known.get(one.photo) ?? recentItem(one)));
}

function recentItem(one) {
  const item = document.createElement("li");
  item.dataset.photo = one.photo;
  const image = document.createElement("img");
  image.src = `crops/${encodeURIComponent(one.photo)}.png`;
  image.alt = "";
  const label = document.createElement("span");
  label.textContent = one.label;
  item.append(image, label);
  return item;
}

function drawBox(answer) {
  const canvas = at("overlay");
  canvas.width = answer?.width || 4;
  canvas.height = answer?.height || 3;
  const [box] = answer?.boxes ?? [];
  if (!box) return;
  const pen = canvas.getContext("2d");
  pen.strokeStyle = answer.outcome === "kept" ? "#2fbf5b" : "#f0a020";
  pen.lineWidth = Math.max(2, answer.width / 160);
  pen.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
}

function flash(label) {
  const button = [...at("classes").querySelectorAll(".hold")].find((one) => one.dataset.class === label);
  if (!button) return;
  button.classList.remove("flash");
  void button.offsetWidth; // begins the animation again
  button.classList.add("flash");
}

at("camera").addEventListener("click", toggleCamera);
at("undo").addEventListener("click", () => send(JSON.stringify({ undo: true })));
at("end").addEventListener("click", () => {
  last = null;
  send(JSON.stringify({ end: true }));
});
addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "z" && !event.repeat && !event.altKey) send(JSON.stringify({ undo: true }));
});
addEventListener("pagehide", () => camera.stop());
say.onChange(show);
connect();
show();
