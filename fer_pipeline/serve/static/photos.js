// The half of the page for pictures: where they come from, and the queue in which they are asked about.
import { ask, fetchExample } from "./backend.js";
import { isAllowed } from "./camera.js";
import { Card } from "./card.js";
import { Shot } from "./shot.js";

const AT_ONCE = 2; // questions under way: more would only wait in the server's queue
const get = (id) => document.getElementById(id);

export function startPhotos(say, models) {
  const cards = [];
  const queue = [];
  let asking = 0;

  function add(files) {
    get("note").textContent = files.length ? "" : say("no_file");
    const added = [...files].map((file) => new Card(file, say));
    get("cards").prepend(...added.map((card) => card.root));
    cards.unshift(...added);
    for (const card of added) {
      card.remove.addEventListener("click", () => drop(card));
      card.again.addEventListener("click", () => enqueue(card));
      enqueue(card);
    }
    get("answers").hidden = cards.length === 0;
  }

  function enqueue(card) {
    card.turn += 1;
    card.asking?.abort(); // the model before may save itself the work
    card.show({ problem: "looking" });
    if (!queue.includes(card)) queue.push(card);
    advance();
  }

  function advance() {
    while (asking < AT_ONCE && queue.length > 0) {
      asking += 1;
      answer(queue.shift()).finally(() => {
        asking -= 1;
        advance();
      });
    }
  }

  async function answer(card) {
    const turn = card.turn;
    const isCurrent = () => turn === card.turn && cards.includes(card);
    const wait = (seconds) => isCurrent() && card.show({ problem: "waiting", values: { seconds } });
    card.asking = new AbortController();
    const state = await ask(card.file, models.current?.name, models.limits, wait, card.asking.signal);
    if (!isCurrent()) return;
    card.show(state);
    get("said").textContent = card.tell();
  }

  function drop(card) {
    const place = cards.indexOf(card);
    cards.splice(place, 1);
    if (queue.includes(card)) queue.splice(queue.indexOf(card), 1);
    card.asking?.abort();
    card.release();
    card.root.remove();
    get("answers").hidden = cards.length === 0;
    (cards[Math.min(place, cards.length - 1)]?.remove ?? get("choose")).focus();
  }

  function clear() {
    while (cards.length > 0) drop(cards[0]);
  }

  get("clear").addEventListener("click", clear);
  get("example").addEventListener("click", async () => {
    const picture = await fetchExample();
    if (picture) add([new File([picture], "example.jpg", { type: "image/jpeg" })]);
    else get("note").textContent = say("offline");
  });
  const shot = new Shot(say, add);
  takeChosen(add);
  takePhoto(shot);
  takeDropped(add);
  takePasted(add);
  models.onChange(() => cards.forEach(enqueue));
  say.onChange(() => {
    get("note").textContent = "";
    cards.forEach((card) => card.show());
  });
  return { leave: () => shot.close() };
}

// A button stands for the input: the browser's own can neither be translated nor made to look like the rest.
function takeChosen(add) {
  get("choose").addEventListener("click", () => get("files").click());
  for (const input of [get("files"), get("shot")]) {
    input.addEventListener("change", (event) => {
      add([...event.target.files]);
      event.target.value = ""; // the same file can be chosen again
    });
  }
}

// A phone has an application for it; elsewhere `capture` is ignored, and the page looks through the camera itself.
function takePhoto(shot) {
  const phone = matchMedia("(pointer: coarse)").matches;
  get("take").hidden = !phone && !isAllowed();
  get("take").addEventListener("click", () => (phone ? get("shot").click() : shot.open()));
}

// The whole page is the target: a picture that misses a smaller one would replace the page.
function takeDropped(add) {
  let inside = 0; // every element the pointer crosses sends its own enter and leave
  const mark = (change) => {
    inside = Math.max(0, inside + change);
    document.body.classList.toggle("dropping", inside > 0);
  };
  document.addEventListener("dragenter", () => mark(1));
  document.addEventListener("dragleave", () => mark(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-inside);
    if (!get("photos").hidden) add([...event.dataTransfer.files]);
  });
}

function takePasted(add) {
  document.addEventListener("paste", (event) => {
    if (!get("photos").hidden) add([...event.clipboardData.files]);
  });
}
