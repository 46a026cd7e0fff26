// The page of `fer review`: filters, grid, keys and buttons, tied to the store.
import { speak } from "../static/language.js";
import { choose, progress } from "./choice.js";
import { Details, decisionText, describe, key } from "./details.js";
import { Grid } from "./grid.js";
import { Store, needsBox } from "./store.js";
import { WORDS } from "./words.js";

const byId = (id) => document.getElementById(id);
const say = speak(WORDS);
const store = new Store();
// What was dropped is shown when asked for: keeping it by mistake would bring it back.
const wanted = { why: "on", label: "", decided: "", doubt: "", alike: "", source: "", search: "", order: "" };
const grid = new Grid(byId("scroller"), byId("grid"), paint);
const details = new Details(store, say, act);
const MARKS = { keep: "✓", drop: "✕", move: "→", restore: "↩" };

// One cell: the picture, its class, and what was decided.
function paint(place, cell) {
  const row = store.rows[place];
  if (!cell.firstChild) {
    const [image, caption, mark] = [document.createElement("img"), document.createElement("span"), document.createElement("b")];
    image.alt = "";
    image.draggable = false;
    image.decoding = "async";
    image.style.height = `${grid.side}px`;
    image.src = store.thumb(place, byId("whole").checked);
    cell.append(image, caption, mark);
  }
  const decision = store.decision(place);
  const moved = decision?.action === "move" ? `→ ${decision.label}` : "";
  cell.children[1].textContent = moved || (row.reason && !decision?.action ? row.reason : row.label ?? say("noLabel"));
  cell.children[2].textContent = MARKS[decision?.action] ?? "";
  cell.dataset.decided = decision?.action ?? "";
  cell.classList.toggle("waits", Boolean(decision?.waits));
  cell.classList.toggle("lost", Boolean(row.reason));
  cell.classList.toggle("suspect", row.suspect);
  cell.setAttribute("aria-label", describe(store, row, say));
  cell.title = row.path;
}

function choices(select, pairs, value) {
  select.replaceChildren(...pairs.map(([name, text]) => new Option(text, name)));
  select.value = pairs.some(([name]) => name === value) ? value : pairs[0][0];
  select.closest(".field").hidden = pairs.length < 2;
}

function fillFilters() {
  const reasons = new Map();
  for (const row of store.rows) if (row.reason) reasons.set(`${row.stage} ${row.reason}`, (reasons.get(`${row.stage} ${row.reason}`) ?? 0) + 1);
  const every = ["", say("every")];
  const lost = [...reasons].map(([name, count]) => [name, `${name.replace(" ", ": ")} (${count})`]);
  choices(byId("why"), [every, ["on", say("goesOn")], ...(lost.length ? [["dropped", say("dropped")], ...lost] : [])], wanted.why);
  const states = { no: "undecided", yes: "isDecided", keep: "isKept", drop: "isDropped", move: "isMoved", restore: "isBack" };
  choices(byId("decided"), [every, ...Object.entries(states).map(([name, word]) => [name, say(word)])], wanted.decided);
  const { audited, judged } = store.about;
  const doubts = [...(audited ? ["suspects"] : []), ...(judged ? ["wrong", "unsure"] : [])];
  choices(byId("doubt"), [every, ...doubts.map((name) => [name === "suspects" ? "suspect" : name, say(name)])], wanted.doubt);
  const tied = store.rows.some((row) => row.group !== null);
  choices(byId("alike"), [every, ...(tied ? [["tied", say("tied")]] : [])], wanted.alike);
  const { sources } = store.about;
  choices(byId("source"), [every, ...(sources.length > 1 ? sources.map((name) => [name, name]) : [])], wanted.source);
  const orders = [["", "byClass"], ...(audited ? [["quality", "bySuspicion"]] : []), ...(judged ? [["sure", "byConfidence"]] : [])];
  if (tied) orders.push(["group", "byGroup"]);
  if (sources.length > 1) orders.push(["source", "bySource"]);
  choices(byId("order"), [...orders, ["time", "byTime"]].map(([name, word]) => [name, say(word)]), wanted.order);
}

// Filter and order again; decisions alone do not, or images would jump away under the hand.
function refill() {
  grid.fill(choose(store, wanted));
  byId("none").hidden = grid.places.length > 0;
  showClasses();
}

function showClasses() {
  const counts = progress(store, wanted);
  const [done, all] = counts.reduce((sum, one) => [sum[0] + one.done, sum[1] + one.all], [0, 0]);
  const loading = store.rows.length < store.about.total;
  const text = `${say("progress", { done: done.toLocaleString(), all: all.toLocaleString() })} · ${say("shown", { count: grid.places.length.toLocaleString() })}`;
  byId("progress").textContent = loading ? say("loading", { count: store.rows.length.toLocaleString() }) : text;
  const every = { label: "", name: say("every"), done, all };
  byId("classes").replaceChildren(...[every, ...counts.map((one) => ({ ...one, name: one.label || say("noLabel") }))].map(chip));
}

function chip({ label, name, done, all }) {
  const button = document.createElement("button");
  const [text, bar] = [document.createElement("span"), document.createElement("progress")];
  button.type = "button";
  button.setAttribute("aria-pressed", wanted.label === label);
  text.textContent = `${name} ${done.toLocaleString()}/${all.toLocaleString()}`;
  bar.max = Math.max(1, all);
  bar.value = done;
  bar.setAttribute("aria-hidden", "true");
  button.append(text, bar);
  button.addEventListener("click", () => { wanted.label = label; refill(); });
  return button;
}

function showMoves() {
  for (const [index, parent] of ["moves", "details-moves"].entries()) {
    byId(parent).replaceChildren(...store.about.labels.slice(0, 9).map((label, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(key(String(number + 1)), ` ${label}`);
      button.addEventListener("click", () => act("move", label, index === 1));
      return button;
    }));
  }
}

// What keys and buttons do.
function act(name, value) {
  if (name === "step") return step(value);
  if (name === "closed") return grid.go(Math.max(0, grid.places.indexOf(details.place))); // the browser went back to where it was
  if (name === "look") return grid.place === undefined ? null : details.show(grid.place);
  if (name === "undo") return undo();
  return decide(name, value);
}

function step(by) {
  grid.go(grid.at + by, { focus: false });
  details.show(grid.place);
}

async function decide(action, label = "") {
  const asked = details.open ? [details.place] : grid.subject;
  if (!asked.length) return;
  const rows = asked.map((place) => store.rows[place]);
  const back = action === "keep" || action === "move";
  const lost = rows.filter((row) => back && row.reason && !row.restorable);
  const boxless = rows.filter((row) => back && needsBox(row) && row.restorable && !details.open);
  if (boxless.length === 1 && asked.length === 1) { details.show(asked[0]); return; }
  const box = details.open && back && rows[0].reason ? details.box : null;
  const left = new Set([...lost, ...boxless]);
  const places = rows.filter((row) => !left.has(row)).map((row) => row.place);
  const notes = [[lost, "cannot"], [boxless, "needBox"]].filter(([some]) => some.length).map(([some, word]) => say(word, { count: some.length }));
  announce([...(places.length ? [say(`did_${action}`, { count: places.length, label })] : []), ...notes].join(" "), notes.length > 0);
  if (!places.length) return;
  const done = store.decide(action, places, { label, box });
  if (details.open) grid.at + 1 < grid.places.length ? step(1) : details.refresh();
  else grid.advance(places);
  await done;
}

async function undo() {
  const places = await store.undo();
  if (places === null) { announce(say("nothingToUndo"), true); return; }
  if (!places.length) return;
  announce(say("did_undo", { count: places.length }));
  const index = grid.places.indexOf(places[0]);
  if (index < 0) return;
  grid.go(index, { focus: !details.open });
  if (details.open) details.show(places[0]);
}

function announce(text, seen = false) {
  byId("announcement").textContent = text;
  if (seen) alarm(text);
  else if (!store.offline) byId("alarm").hidden = true;
}

function alarm(text, action = null) {
  byId("alarm").replaceChildren(text, ...(action ? [" ", action] : []));
  byId("alarm").hidden = !text;
}

function offerReload() {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = say("reload");
  button.addEventListener("click", () => location.reload());
  alarm(say("changed"), button);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const field = event.target.closest?.("input:not([type=checkbox], [type=range]), select, textarea");
  if (field) {
    if (event.key === "Escape" && field.id === "search") { field.value = ""; search(); grid.go(0); }
    else if (event.key === "Enter" && field.id === "search") grid.go(0);
    return;
  }
  if (pressed(event)) event.preventDefault();
}

function pressed(event) {
  const onButton = event.target.closest?.("button, input, a");
  const letter = event.key.toLowerCase();
  const simple = { k: "keep", d: "drop", u: "undo" }[letter];
  if (simple) { act(simple); return true; }
  if (/^[1-9]$/.test(event.key)) {
    const label = store.about.labels[Number(event.key) - 1];
    if (label !== undefined) act("move", label);
    return label !== undefined;
  }
  if (details.open) return pressedInDetails(event, onButton);
  if (event.key === "Enter" && !onButton) { act("look"); return true; }
  if (event.key === " " && !onButton) { grid.toggle(); return true; }
  if (letter === "a") { grid.select(grid.places); return true; }
  if (event.key === "Escape") { grid.select([]); return true; }
  if (letter === "r") { refill(); return true; }
  if (event.key === "/") { showFilters(true); byId("search").focus(); return true; }
  if (event.key === "?") { openHelp(); return true; }
  return !event.target.closest?.("input") && grid.key(event);
}

function pressedInDetails(event, onButton) {
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") { step(event.key === "ArrowLeft" ? -1 : 1); return true; }
  if (event.key !== "Enter" || (onButton && onButton.id !== "box") || byId("keep-it").disabled) return false; // a button does its own
  act("keep");
  return true;
}

function openHelp() {
  const rows = [["↑ ↓ ← →", "k_arrows"], ["Space", "k_space"], ["A", "k_a"], ["Esc", "k_esc"], ["K", "k_k"], ["D", "k_d"], ["1–9", "k_19"],
    ["U", "k_u"], ["Enter", "k_enter"], ["/", "k_slash"], ["R", "k_r"], ["?", "k_q"]];
  byId("keys").replaceChildren(...rows.flatMap(([name, word]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.append(key(name));
    text.textContent = say(word);
    return [term, text];
  }));
  byId("help").showModal();
}

function showFilters(open) {
  byId("filters").classList.toggle("open", open);
  byId("open-filters").setAttribute("aria-expanded", open);
}

function search() {
  wanted.search = byId("search").value.trim().toLowerCase();
  refill();
}

function listen() {
  for (const name of ["why", "decided", "doubt", "alike", "source", "order"]) {
    byId(name).addEventListener("change", () => { wanted[name] = byId(name).value; refill(); });
  }
  byId("search").addEventListener("input", search);
  byId("size").addEventListener("input", () => grid.resize(Number(byId("size").value)));
  byId("whole").addEventListener("change", refill);
  byId("open-filters").addEventListener("click", () => showFilters(!byId("filters").classList.contains("open")));
  byId("open-help").addEventListener("click", openHelp);
  byId("mark").addEventListener("click", () => {
    grid.marking = !grid.marking;
    byId("mark").setAttribute("aria-pressed", grid.marking);
  });
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => act(button.dataset.do));
  document.addEventListener("keydown", keys);
  grid.addEventListener("open", () => act("look"));
  grid.addEventListener("selected", () => {
    byId("chosen").textContent = grid.selected.size ? say("chosen", { count: grid.selected.size.toLocaleString() }) : "";
  });
  store.addEventListener("decided", ({ detail }) => { grid.repaint(detail.places); details.refresh(); later(showClasses); });
  store.addEventListener("refused", ({ detail }) => alarm(say("refused", detail)));
  store.addEventListener("offline", () => alarm(say("offline")));
  store.addEventListener("online", () => alarm(""));
  store.addEventListener("changed", offerReload);
  say.onChange(() => { fillFilters(); showClasses(); grid.repaint(); details.refresh(); });
}

// Once for many calls in one frame.
function later(work) {
  if (later.waits) return;
  later.waits = true;
  requestAnimationFrame(() => { later.waits = false; work(); });
}

async function start() {
  let first = true;
  store.addEventListener("rows", () => {
    if (first) {
      byId("name").textContent = store.about.name;
      document.title = `${store.about.name} – fer review`;
      if (store.rows.every((row) => row.reason)) wanted.why = "";
      showMoves();
      listen();
    }
    fillFilters();
    refill();
    if (first) grid.go(0);
    first = false;
  });
  await store.open();
}

start().catch((error) => alarm(say("refused", { reason: error.message })));
