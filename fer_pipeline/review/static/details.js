// One image closely: its photo beside its crop, where it came from, and a box to draw around a face that was missed.
import { needsBox } from "./store.js";

const SMALLEST = 8; // pixels of the photo
const byId = (id) => document.getElementById(id);

export class Details {
  place = null;
  box = null; // left, top, right, bottom in pixels of the photo, drawn by hand
  #from = null; // where a drawing began

  constructor(store, say, act) {
    this.store = store;
    this.say = say;
    this.act = act; // act(name, value): what the buttons do
    this.dialog = byId("details");
    this.stage = byId("stage");
    byId("close").addEventListener("click", () => this.dialog.close());
    byId("before").addEventListener("click", () => act("step", -1));
    byId("after").addEventListener("click", () => act("step", 1));
    byId("keep-it").addEventListener("click", () => act("keep"));
    byId("photo").addEventListener("load", () => this.#drawBox());
    this.dialog.addEventListener("close", () => act("closed"));
    this.stage.addEventListener("pointerdown", (event) => this.#begin(event));
    this.stage.addEventListener("pointermove", (event) => this.#drag(event));
    this.stage.addEventListener("pointerup", () => this.#end());
    byId("box").addEventListener("keydown", (event) => this.#nudge(event));
    new ResizeObserver(() => this.#drawBox()).observe(this.stage);
  }

  get open() { return this.dialog.open; }
  get row() { return this.store.rows[this.place]; }

  async show(place) {
    this.place = place;
    this.box = null;
    this.given = null;
    this.about = null; // nothing of the image before may stand beside this one
    this.guessed = null;
    byId("attributes").replaceChildren();
    byId("siblings").hidden = true;
    byId("siblings").replaceChildren();
    const { row } = this;
    byId("photo").src = this.store.photo(place);
    this.stage.classList.toggle("drawable", this.#drawable);
    byId("crop-figure").hidden = Boolean(row.reason) || row.stage !== "crop";
    if (!byId("crop-figure").hidden) byId("crop").src = this.store.thumb(place, false);
    this.refresh();
    if (!this.open) this.dialog.showModal();
    this.dialog.focus(); // not a button: Enter keeps, arrows step on
    this.#drawBox();
    const about = await this.store.describe(place).catch(() => null);
    if (about && this.place === place) this.#describe(about);
    if (needsBox(row) && row.restorable) await this.#guess(place);
  }

  // The words that change with a decision or the language.
  refresh() {
    const { row, say } = this;
    if (!row) return;
    byId("details-title").textContent = describe(this.store, row, say);
    byId("photo").alt = describe(this.store, row, say);
    const back = Boolean(row.reason);
    byId("keep-it").replaceChildren(key("K"), ` ${say(back ? "back" : "keep")}`);
    byId("keep-it").disabled = back && (!row.restorable || (needsBox(row) && !this.box));
    byId("hint").hidden = !needsBox(row) || !row.restorable;
    byId("hint").textContent = say(this.guessed && this.box === this.guessed ? "mayBe" : "draw");
    if (this.about) this.#describe(this.about);
  }

  get #drawable() { return Boolean(this.row.reason) && this.row.restorable; }

  #describe(about) {
    this.about = about;
    const { row, say } = this;
    const attributes = [[say("path"), row.path], [say("decision"), decisionText(this.store.decision(row.place), say) || "–"]];
    if (row.suggested) attributes.push([say("suggested"), `${row.suggested} (${row.label}: ${percent(row.quality)})`]);
    if (row.sure !== null) attributes.push([say("says"), `${row.predicted} ${percent(row.sure)}`]);
    for (const [name, value] of Object.entries({ ...about.source, ...about.attributes })) attributes.push([name, value]);
    byId("attributes").replaceChildren(...attributes.flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      if (name === "url" && about.link === value) text.append(link(value));
      else text.textContent = value;
      return [term, text];
    }));
    if (!this.box) this.given = about.box;
    this.#siblings(about.group);
    this.#drawBox();
  }

  #siblings(group) {
    const others = group.filter((place) => place !== this.place).slice(0, 24);
    byId("siblings").hidden = !others.length;
    byId("siblings").replaceChildren(...others.map((place) => {
      const button = document.createElement("button");
      const image = document.createElement("img");
      image.src = this.store.thumb(place, false);
      image.alt = describe(this.store, this.store.rows[place], this.say);
      button.type = "button";
      button.append(image);
      button.addEventListener("click", () => this.show(place));
      return button;
    }));
  }

  async #guess(place) {
    const found = await this.store.guess(place).catch(() => null);
    if (this.place !== place || this.box) return;
    const photo = byId("photo");
    await photo.decode().catch(() => {});
    if (this.place !== place || this.box) return;
    const [width, height] = [photo.naturalWidth, photo.naturalHeight];
    const side = Math.min(width, height) * 0.6;
    const middle = [width / 2 - side / 2, height / 2 - side / 2, width / 2 + side / 2, height / 2 + side / 2];
    this.guessed = found?.box ? [...found.box] : null;
    this.#set(this.guessed ?? middle);
  }

  // Pixels of the photo under the pointer.
  #point(event) {
    const shown = byId("photo").getBoundingClientRect();
    const scale = byId("photo").naturalWidth / shown.width;
    const x = Math.max(0, Math.min(event.clientX - shown.left, shown.width)) * scale;
    return [x, Math.max(0, Math.min(event.clientY - shown.top, shown.height)) * scale];
  }

  #begin(event) {
    if (!this.#drawable || event.button !== 0) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    this.#from = this.#point(event);
  }

  #drag(event) {
    if (!this.#from) return;
    const [x, y] = this.#point(event);
    const [left, right] = [Math.min(x, this.#from[0]), Math.max(x, this.#from[0])];
    const [top, bottom] = [Math.min(y, this.#from[1]), Math.max(y, this.#from[1])];
    if (right - left >= SMALLEST && bottom - top >= SMALLEST) this.#set([left, top, right, bottom], false);
  }

  #end() {
    if (!this.#from) return;
    this.#from = null;
    if (this.box) this.#set(this.box);
  }

  #nudge(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const by = moves[event.key];
    if (!by || !this.box) return;
    event.preventDefault();
    event.stopPropagation();
    const step = Math.max(2, byId("photo").naturalWidth / 80);
    const [dx, dy] = by.map((one) => one * step);
    const [left, top, right, bottom] = this.box;
    const next = event.shiftKey ? [left, top, right + dx, bottom + dy] : [left + dx, top + dy, right + dx, bottom + dy];
    if (next[2] - next[0] >= SMALLEST && next[3] - next[1] >= SMALLEST) this.#set(next);
  }

  #set(box, whole = true) {
    this.box = box;
    if (whole && this.store.about.restorable) {
      byId("crop").src = this.store.preview(this.place, box);
      byId("crop-figure").hidden = false;
    }
    this.refresh();
    this.#drawBox();
  }

  #drawBox() {
    const box = this.box ?? this.given;
    const [photo, frame] = [byId("photo"), byId("box")];
    frame.hidden = !box || !photo.naturalWidth;
    if (frame.hidden) return;
    frame.disabled = !this.box;
    const scale = photo.clientWidth / photo.naturalWidth;
    const [left, top, right, bottom] = box.map((one) => one * scale);
    Object.assign(frame.style, {
      left: `${photo.offsetLeft + left}px`, top: `${photo.offsetTop + top}px`,
      width: `${right - left}px`, height: `${bottom - top}px`,
    });
  }
}

// "smile, dropped by filter: no_face" and what was decided.
export function describe(store, row, say) {
  const why = row.reason ? say("droppedBy", { stage: row.stage, reason: row.reason }) : say("goesOn");
  const decided = decisionText(store.decision(row.place), say);
  return say("state", { label: row.label ?? say("noLabel"), why: decided ? `${why} – ${decided}` : why });
}

export function decisionText(decision, say) {
  const words = { keep: "keptAs", drop: "droppedAs", move: "movedAs", restore: "backAs" };
  return decision?.action ? say(words[decision.action], { label: decision.label }) : "";
}

export function key(name) {
  const cap = document.createElement("kbd");
  cap.textContent = name;
  return cap;
}

function link(address) {
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.target = "_blank";
  anchor.rel = "noreferrer noopener";
  anchor.textContent = address;
  return anchor;
}

const percent = (share) => share === null ? "?" : `${Math.round(share * 100)} %`;
