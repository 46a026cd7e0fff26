// The images and what was decided about them. A decision shows at once and is taken back if the server refuses it.
const CHUNK = 4000;
const MOST = 4_000; // images of one request
const PAUSE = 3000; // milliseconds between two looks at what other tabs decided
const [PATH, LABEL, STAGE, REASON, SOURCE, GROUP, RESTORABLE, QUALITY, SUSPECT, SUGGESTED, SURE, PREDICTED, HOST] = Array(13).keys();

export class Refusal extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.ok) return answer.json();
  const content = await answer.json().catch(() => ({}));
  throw new Refusal(typeof content.detail === "string" ? content.detail : `HTTP ${answer.status}`, answer.status);
}

export class Store extends EventTarget {
  rows = [];
  decisions = new Map(); // place: {action, label, line}, as the server has them
  pending = new Map(); // place: [decision, …], not yet answered
  history = []; // of this tab: {places, lines}, and `taken` while an undo of it is on its way
  line = 0;
  rewritten = 0;
  offline = false;
  #queue = Promise.resolve();
  #timer = 0;

  async open() {
    this.about = await ask("api/data");
    await this.#hear(await ask("api/news?since=0"));
    for (let start = 0; start < this.about.total; start += CHUNK) {
      const rows = await ask(`api/rows?token=${this.about.token}&start=${start}&count=${CHUNK}`);
      for (const row of rows) this.rows.push(read(row, this.rows.length));
      this.#say("rows");
    }
    addEventListener("focus", () => this.look());
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    this.#again();
  }

  thumb(place, whole) { return `thumb/${this.about.token}/${place}${whole ? "?whole=1" : ""}`; }
  photo(place) { return `photo/${this.about.token}/${place}`; }
  preview(place, box) { return `preview/${this.about.token}/${place}?${box.map((one) => `box=${one.toFixed(1)}`).join("&")}`; }
  describe(place) { return ask(`api/images/${this.about.token}/${place}`); }
  guess(place) { return ask(`api/face/${this.about.token}/${place}`); }

  // What counts for an image: {action, label, line, waits} or undefined.
  decision(place) {
    const waiting = this.pending.get(place);
    return waiting?.length ? waiting.at(-1) : this.decisions.get(place);
  }

  // Decide about some images; resolves to true if it was kept.
  decide(action, places, { label = "", box = null } = {}) {
    const shown = (place) => action === "keep" && this.rows[place].reason ? "restore" : action;
    for (const place of places) this.#push(place, { action: shown(place), label, line: Infinity, waits: true });
    this.#say("decided", { places });
    return this.#send(places, async () => {
      const entry = { places: [], lines: [] };
      for (let start = 0; start < places.length; start += MOST) {
        const some = places.slice(start, start + MOST);
        const { written } = await this.#post({ token: this.about.token, action, places: some, label, ...(box && { box }) });
        if (!start) this.history.push(entry);
        entry.places.push(...some);
        entry.lines.push(...written); // as the server answered: what this tab sees by now may be of another tab
      }
    });
  }

  // Take back the last decision of this tab; resolves to its places, or null where there is none.
  async undo() {
    await this.#queue;
    const last = this.history.findLast((entry) => !entry.taken);
    if (!last) return null;
    last.taken = true;
    const places = [...last.places];
    for (const place of places) this.#push(place, { action: "", label: "", line: 0, waits: true });
    this.#say("decided", { places });
    return await this.#send(places, () => this.#takeBack(last)) ? places : [];
  }

  // What could not be taken back can be tried again, but for what others have decided since.
  async #takeBack(entry) {
    try {
      while (entry.places.length) {
        const [places, lines] = [entry.places.slice(0, MOST), entry.lines.slice(0, MOST)];
        await this.#post({ token: this.about.token, action: "undo", places, lines });
        entry.places.splice(0, MOST);
        entry.lines.splice(0, MOST);
      }
    } catch (error) {
      if (error.status === 409) await this.#dropOverruled(entry);
      throw error;
    } finally {
      entry.taken = false;
      if (!entry.places.length) this.history.splice(this.history.indexOf(entry), 1);
    }
  }

  async #dropOverruled(entry) {
    await this.#hear(await ask(`api/news?since=${this.line}&rewritten=${this.rewritten}`));
    const ours = [...entry.places.keys()].filter((index) => this.decisions.get(entry.places[index])?.line === entry.lines[index]);
    entry.places = ours.map((index) => entry.places[index]);
    entry.lines = ours.map((index) => entry.lines[index]);
  }

  async look() {
    clearTimeout(this.#timer);
    try {
      await this.#hear(await ask(`api/news?since=${this.line}&rewritten=${this.rewritten}`));
      this.#reach(true);
    } catch (error) {
      if (error instanceof Refusal) this.#say("refused", { reason: error.message });
      else this.#reach(false);
    }
    this.#again();
  }

  #again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? this.#again() : this.look()), PAUSE);
  }

  #post(body) {
    return ask(`api/decisions?since=${this.line}&rewritten=${this.rewritten}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    }).then((news) => { this.#hear(news); return news; });
  }

  // One after the other, so that the file has them in the order in which they were made.
  #send(places, work) {
    const done = this.#queue.then(work).then(() => { this.#reach(true); return true; }, (error) => {
      if (error instanceof Refusal) this.#say("refused", { reason: error.message });
      else if (error instanceof TypeError) this.#reach(false);
      else throw error;
      return false;
    }).finally(() => {
      for (const place of places) {
        const waiting = this.pending.get(place);
        waiting.shift();
        if (!waiting.length) this.pending.delete(place);
      }
      this.#say("decided", { places });
    });
    this.#queue = done.catch(() => {});
    return done;
  }

  #push(place, decision) {
    if (!this.pending.has(place)) this.pending.set(place, []);
    this.pending.get(place).push(decision);
  }

  #hear(news) {
    if (news.token !== this.about.token) { this.#say("changed"); return; }
    if (news.all) this.decisions.clear();
    for (const [place, action, label, line] of news.decisions) {
      if (action) this.decisions.set(place, { action, label, line });
      else this.decisions.delete(place);
    }
    this.line = news.line;
    this.rewritten = news.rewritten;
    if (news.all || news.decisions.length) this.#say("decided", { places: news.all ? null : news.decisions.map(([place]) => place) });
  }

  #reach(answered) {
    if (this.offline === !answered) return;
    this.offline = !answered;
    this.#say(answered ? "online" : "offline");
  }

  #say(name, detail = {}) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}

function read(row, place) {
  return {
    place, path: row[PATH], label: row[LABEL], stage: row[STAGE], reason: row[REASON], source: row[SOURCE], group: row[GROUP],
    restorable: row[RESTORABLE] === 1, quality: row[QUALITY], suspect: row[SUSPECT] === 1, suggested: row[SUGGESTED],
    sure: row[SURE], predicted: row[PREDICTED], host: row[HOST],
  };
}

export const needsBox = (row) => row.reason === "no_face";
