// The words of a page in English and Chinese. An element with data-say="key" shows that key's words, data-label="key"
// is named by them for screen readers, data-hint="key" gets them as its placeholder or title.
const KEY = "fer-language";

// Where a browser forbids storage, the mere mention of it throws; the page speaks all the same.
function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(language) {
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // then it is chosen again next time
  }
}

export function chosenLanguage() {
  const language = kept();
  if (language === "en" || language === "zh") return language;
  return navigator.languages.some((one) => one.toLowerCase().startsWith("zh")) &&
    navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

// words: {en: {key: text}, zh: {key: text}}; {name} in a text is filled in. Returns say(key, values) with
// say.language and say.onChange(callback), which runs after every switch.
export function speak(words) {
  const listeners = [];
  const say = (key, values = {}) => {
    const text = words[say.language][key] ?? words.en[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  };
  say.language = chosenLanguage();
  say.onChange = (callback) => listeners.push(callback);
  say.apply = (root = document) => {
    for (const one of root.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
    for (const one of root.querySelectorAll("[data-label]")) one.setAttribute("aria-label", say(one.dataset.label));
    for (const one of root.querySelectorAll("[data-hint]")) {
      one.setAttribute(one.matches("input, textarea") ? "placeholder" : "title", say(one.dataset.hint));
    }
  };
  const show = () => {
    document.documentElement.lang = say.language === "zh" ? "zh-Hans" : "en";
    say.apply();
    for (const button of document.querySelectorAll("[data-language]")) {
      button.textContent = say.language === "zh" ? "English" : "中文";
      button.lang = say.language === "zh" ? "en" : "zh-Hans";
    }
    for (const listener of listeners) listener();
  };
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => {
      say.language = say.language === "zh" ? "en" : "zh";
      keep(say.language);
      show();
    });
  }
  show();
  return say;
}
