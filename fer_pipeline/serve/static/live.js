// The half of the page for the webcam: frames go out, the newest only, and answers come back as an overlay.
import { Line } from "./backend.js";
import { isAllowed, isMirrored, listCameras, openCamera, reasonOf, release, takeFrame } from "./camera.js";
import { drawFaces, showFaces, verdictOf } from "./faces.js";
import { Pace } from "./pace.js";
import { Tracks } from "./tracks.js";

const AT_ONCE = 2; // frames under way: one being answered, one to go on with; more would be about the past
const LOST = 5000; // ms after which a frame's answer is no longer waited for
const TELL = 2000; // ms between two sentences for a screen reader
const SHOW = 500; // ms between two updates of the rates: faster cannot be read
const get = (id) => document.getElementById(id);

export class Live {
  constructor(say, models) {
    Object.assign(this, { say, models, turn: 0, state: ["", {}], tracks: new Tracks(), pace: new Pace(), sent: new Map() });
    this.video = get("video");
    this.canvas = document.createElement("canvas");
    get("start").addEventListener("click", () => this.start());
    get("stop").addEventListener("click", () => this.stop());
    get("pause").addEventListener("click", () => this.pause(!this.paused));
    get("camera").addEventListener("change", (event) => this.start(event.target.value));
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.stop("hidden"); });
    window.addEventListener("pagehide", () => this.stop("hidden"));
    models.onChange(() => this.switchModel());
    say.onChange(() => this.showState());
    this.showState();
  }

  async start(device = "") {
    this.stop();
    const turn = this.turn; // whatever was begun before a stop must find out that it is too late
    if (!isAllowed()) {
      this.tell("insecure");
      return;
    }
    this.active = true;
    this.tell("opening");
    try {
      const stream = await openCamera(device);
      if (turn === this.turn) await this.show(stream);
      else release(stream);
    } catch (error) {
      if (turn === this.turn) this.stop(reasonOf(error));
    }
  }

  async show(stream) {
    this.stream = stream;
    this.mirrored = isMirrored(stream);
    stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("unplugged"));
    this.video.srcObject = stream;
    this.video.classList.toggle("mirrored", this.mirrored);
    this.tell("connecting");
    this.connect();
    this.watch(this.turn);
    const { turn } = this;
    await this.video.play();
    if (turn === this.turn) await listCameras(get("cameras"), get("camera"), stream);
  }

  connect() {
    const address = () => {
      const name = this.models.current?.name;
      const query = name ? `?model=${encodeURIComponent(name)}` : "";
      return new URL(`live${query}`, location.href).href.replace(/^http/, "ws");
    };
    this.line = new Line(address, {
      open: () => {
        this.forget();
        this.tell(this.paused ? "paused" : "watching");
        this.offer();
      },
      answer: (answer) => this.take(answer),
      lost: (seconds) => this.tell("lost", { seconds }),
      end: (problem, values) => this.stop(problem, values),
    });
  }

  // Once for every frame the camera brings.
  watch(turn) {
    if (turn !== this.turn) return;
    this.fresh = !this.paused;
    this.offer();
    const next = () => this.watch(turn);
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  }

  // Send the newest frame if there is one and few enough are under way; else the next answer comes back here.
  async offer() {
    const now = performance.now();
    for (const [number, taken] of this.sent) if (now - taken > LOST) this.sent.delete(number);
    if (this.fresh) this.line?.wake();
    if (!this.fresh || this.encoding || this.sent.size >= AT_ONCE || !this.line?.isOpen || !this.video.videoWidth) return;
    const { line } = this;
    this.fresh = false;
    this.encoding = true;
    const frame = await takeFrame(this.video, this.canvas);
    this.encoding = false;
    if (!frame || line !== this.line || !line.isOpen) return;
    this.sent.set(this.count, now);
    this.count += 1; // the server counts the frames of a connection as well
    line.send(frame);
  }

  take(answer) {
    const taken = this.sent.get(answer.frame);
    for (const number of this.sent.keys()) if (number <= answer.frame) this.sent.delete(number); // overtaken ones too
    const model = this.models.current;
    if (!this.paused && (!model || !answer.model || answer.model === model.name)) {
      const now = performance.now();
      const faces = this.tracks.follow(answer.faces, now, model ?? {});
      this.draw({ ...answer, faces: this.mirrored ? faces.map((face) => flip(face, answer.width)) : faces });
      this.pace.note(taken, performance.now());
      this.report(faces, now);
    }
    this.offer();
  }

  draw(answer) {
    drawFaces(get("overlay"), answer, this.say);
    showFaces(get("seen"), answer, this.say);
    get("alone").hidden = answer.faces.length > 0;
  }

  report(faces, now) {
    const pace = this.pace.tell();
    if (pace && now - this.shown > SHOW) {
      this.shown = now;
      get("rates").textContent = this.say("rates", pace);
    }
    const heard = faces.map((face) => verdictOf(face, this.say)).join(", ") || this.say("alone");
    if (now - this.told > TELL && heard !== get("heard").textContent) {
      this.told = now;
      get("heard").textContent = heard;
    }
  }

  switchModel() {
    this.tracks.forget();
    this.line?.send(JSON.stringify({ model: this.models.current.name }));
  }

  pause(paused) {
    this.paused = paused;
    this.pace.forget();
    if (paused) this.video.pause();
    else this.video.play().catch(() => {}); // stopped in between
    this.tell(paused ? "paused" : "watching");
  }

  // Also how every failure ends: the camera's light goes out and the page says why.
  stop(problem = "off", values = {}) {
    if (!this.active) return;
    this.turn += 1;
    this.line?.close();
    release(this.stream);
    this.video.srcObject = null;
    Object.assign(this, { active: false, paused: false, line: null, stream: null });
    this.tell(problem, values);
  }

  forget() {
    this.tracks.forget();
    this.pace.forget();
    this.sent.clear();
    Object.assign(this, { count: 0, fresh: true, shown: 0, told: 0 });
  }

  tell(key, values = {}) {
    this.state = [key, values];
    this.showState();
  }

  showState() {
    const [key, values] = this.state;
    get("state").textContent = key ? this.say(key, values) : "";
    get("pause").textContent = this.say(this.paused ? "resume" : "pause");
    const focused = document.activeElement;
    get("start").hidden = Boolean(this.active);
    for (const id of ["stop", "pause"]) get(id).hidden = !this.active;
    get("stage").hidden = !this.stream;
    if (focused?.hidden) get(this.active ? "stop" : "start").focus(); // a button that hides must not lose the focus
    if (!this.stream) this.clear();
  }

  clear() {
    get("overlay").width = 0;
    get("seen").replaceChildren();
    get("cameras").hidden = get("alone").hidden = true;
    for (const id of ["rates", "heard"]) get(id).textContent = "";
  }
}

// The face as a mirror shows it.
function flip(face, width) {
  const [left, top, right, bottom] = face.box;
  return { ...face, box: [width - right, top, width - left, bottom] };
}
