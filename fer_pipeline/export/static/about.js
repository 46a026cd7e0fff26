// The model card: what the model tells apart, how often it is right, and who made what.
import { make, percent } from "./faces.js";
import { nameOf } from "./words.js";

const LICENCES = ["onnxruntime.txt", "onnxruntime-others.txt", "yunet.txt"];

export function showCard(model, say) {
  const root = document.querySelector("main").appendChild(make("details", "card"));
  const show = () => {
    const list = make("dl");
    for (const [key, value] of tell(model, say)) list.append(make("dt", "soft", say(`about.${key}`)), make("dd", "", value));
    list.lastChild.replaceChildren(...LICENCES.flatMap((name) => [link(name), " "]));
    root.replaceChildren(make("summary", "", say("about.title")), list, make("p", "soft", say("about.fair")));
  };
  say.onChange(show);
  show();
}

function tell({ labels, uncertain, card }, say) {
  const share = (value) => new Intl.NumberFormat(say.language, { style: "percent", maximumFractionDigits: 1 }).format(value);
  const told = [["classes", labels.map((label) => nameOf(label, say)).join(say.language === "zh" ? "、" : ", ")]];
  if (card.count) {
    const [low, high] = card.interval.map(share);
    told.push(["accuracy", say("about.right", { accuracy: share(card.accuracy), count: card.count, low, high })]);
  }
  if (card.images) told.push(["data", say("about.images", { count: card.images })]);
  told.push(["threshold", uncertain ? percent(uncertain, say) : say("about.never")], ["network", card.network]);
  return [...told, ["version", card.version], ["licences", ""]];
}

function link(name) {
  const anchor = make("a", "", name);
  anchor.href = `licences/${name}`;
  return anchor;
}
