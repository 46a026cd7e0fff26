// One picture on the page with its answer, or with what went wrong.
import { make, showBoxes, showFaces, tellFaces } from "./faces.js";

const SMALL = 200; // CSS px: smaller pictures are shown this wide, so that their boxes can be read

export class Card {
  constructor(file, say) {
    this.file = file;
    this.say = say;
    this.state = { problem: "looking", values: {} };
    this.turn = 0; // counts questions, so that a late answer of the model before is not shown
    this.root = make("article", "card");
    this.picture = make("figure", "picture");
    this.boxes = make("div", "boxes");
    this.remove = make("button", "", "×");
    this.verdict = make("p", "verdict");
    this.hint = make("p", "soft");
    this.faces = make("ol", "faces");
    this.again = make("button");
    this.remove.type = this.again.type = "button";
    this.compose();
    this.show();
  }

  compose() {
    const head = make("div", "row ends"), pair = make("div", "pair"), words = make("div");
    head.append(make("h3", "", this.file.name), this.remove);
    this.picture.append(this.newImage(), this.boxes);
    words.append(this.verdict, this.hint, this.faces, this.again);
    pair.append(this.picture, words);
    this.root.append(head, pair);
    this.faces.addEventListener("pointerover", (event) => this.point(event.target.closest(".faces > li")));
    this.faces.addEventListener("pointerleave", () => this.point(null));
  }

  // The picture never leaves the page but for the question; the browser turns it upright, as the server does.
  newImage() {
    const image = make("img");
    image.alt = this.file.name;
    image.decoding = "async";
    image.loading = "lazy"; // a hundred large photos at once would fill the memory
    this.url = URL.createObjectURL(this.file);
    image.addEventListener("load", () => {
      this.release();
      if (image.naturalWidth < SMALL && image.naturalHeight < 2 * SMALL) image.width = SMALL;
    });
    image.addEventListener("error", () => {
      this.release();
      this.picture.remove(); // a format that only the server can read: its words stay
      this.unshown = true;
      this.show();
    });
    image.src = this.url;
    return image;
  }

  release() {
    URL.revokeObjectURL(this.url);
  }

  // state: {result} or {problem, values, hint, again}; called again after a change of language.
  show(state = this.state) {
    this.state = state;
    const { result, problem, values, hint, again } = state;
    const answer = result ?? { faces: [], width: 1, height: 1 };
    const count = answer.faces.length;
    this.root.setAttribute("aria-busy", String(problem === "looking" || problem === "waiting"));
    this.verdict.textContent = problem ? this.say(problem, values) : count === 1 ? this.say("one") : this.say("many", { count });
    this.verdict.classList.toggle("bad", Boolean(problem) && !hint && !["looking", "waiting"].includes(problem));
    this.hint.textContent = hint ? this.say("no_face_hint") : this.unshown && result ? this.say("unshown") : "";
    this.again.textContent = this.say("again");
    this.again.hidden = !again;
    this.remove.setAttribute("aria-label", this.say("remove", { name: this.file.name }));
    showBoxes(this.boxes, answer, this.say);
    showFaces(this.faces, answer, this.say);
  }

  // What a screen reader says of the card.
  tell() {
    const { result, problem, values } = this.state;
    return this.say("said", { name: this.file.name, words: problem ? this.say(problem, values) : tellFaces(result.faces, this.say) });
  }

  // Make the box of the face that the pointer is on stand out.
  point(item) {
    const place = item ? [...this.faces.children].indexOf(item) : -1;
    [...this.boxes.children].forEach((box, at) => box.classList.toggle("near", at === place));
  }
}
