// A photo through the camera of a computer: a small preview, and one frame of it.
import { isMirrored, openCamera, reasonOf, release, takeFrame } from "./camera.js";

const LONGEST = 1600; // px of the photo
const get = (id) => document.getElementById(id);

export class Shot {
  // add: takes the photo as a list of one file, as if it had been chosen
  constructor(say, add) {
    Object.assign(this, { say, add, turn: 0, count: 0, stream: null });
    get("snap").addEventListener("click", () => this.take());
    get("cancel").addEventListener("click", () => this.close());
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.close(); });
    window.addEventListener("pagehide", () => this.close());
  }

  async open() {
    this.close();
    const turn = this.turn; // a camera that opens after its photo was given up must be let go of
    get("note").textContent = "";
    try {
      const stream = await openCamera();
      if (turn === this.turn) await this.show(stream);
      else release(stream);
    } catch (error) {
      if (turn !== this.turn) return;
      this.close();
      get("note").textContent = this.say(reasonOf(error));
    }
  }

  async show(stream) {
    this.stream = stream;
    get("finder").srcObject = stream;
    get("finder").classList.toggle("mirrored", isMirrored(stream));
    get("shutter").hidden = false;
    await get("finder").play();
    get("snap").focus();
  }

  async take() {
    if (!get("finder").videoWidth) return;
    const frame = await takeFrame(get("finder"), document.createElement("canvas"), LONGEST);
    this.close();
    this.count += 1;
    if (frame) this.add([new File([frame], `photo-${this.count}.jpg`, { type: "image/jpeg" })]);
  }

  close() {
    this.turn += 1;
    if (!this.stream) return;
    release(this.stream);
    this.stream = get("finder").srcObject = null;
    const focused = get("shutter").contains(document.activeElement);
    get("shutter").hidden = true;
    if (focused) get("take").focus(); // a button that hides must not lose the focus
  }
}
