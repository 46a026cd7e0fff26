// The page of `fer serve`: two languages, two tabs, one choice of model.
import { speak } from "../static/language.js";
import { describe, isHere } from "./backend.js";
import { Live } from "./live.js";
import { startPhotos } from "./photos.js";
import { nameOf, words } from "./words.js";

const get = (id) => document.getElementById(id);
const say = speak(words);

const models = {
  all: [],
  limits: {},
  current: null, // until the server has said what it has, its own default
  listeners: [],
  onChange(listener) { this.listeners.push(listener); },
  choose(name) {
    this.current = this.all.find((model) => model.name === name) ?? null;
    this.listeners.forEach((listener) => listener());
  },
};

async function learnModels() {
  const version = await describe(say);
  if (!version) {
    get("note").textContent = say("offline");
    return;
  }
  models.all = version.models;
  models.limits = version.limits;
  models.current = version.models[0];
  get("model").replaceChildren(...models.all.map((model) => new Option(model.name)));
  get("models").hidden = models.all.length < 2;
}

// What depends on the language or the model and is not marked in the page itself.
function tellFacts() {
  document.title = say("title");
  const place = isHere() ? say("here") : say("there", { host: location.host });
  for (const one of document.querySelectorAll(".where")) one.textContent = place;
  const { name, labels = [] } = models.current ?? {};
  get("about").textContent = name ? say("about", { name, labels: labels.map((label) => nameOf(label, say)).join(say.language === "zh" ? "、" : ", ") }) : "";
}

// Tabs as the ARIA practices want them: one in the order of focus, arrows between them.
function startTabs(leave) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      get(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
    chosen.focus();
    for (const tab of tabs) if (tab !== chosen) leave[tab.id]();
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) open(tabs[(place + step + tabs.length) % tabs.length]);
    });
  });
}

const live = new Live(say, models);
const photos = startPhotos(say, models);
startTabs({ "photos-tab": () => photos.leave(), "live-tab": () => live.stop() });
get("model").addEventListener("change", (event) => models.choose(event.target.value));
models.onChange(tellFacts);
say.onChange(tellFacts);
tellFacts();
await learnModels(); // after all that can be clicked: a server that is slow to tell must not make the page dead
tellFacts();
document.body.dataset.ready = "";
