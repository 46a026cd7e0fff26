// A grid of thousands of images of which only those in view exist; arrows move, Shift and Space select.
const CAPTION = 26; // pixels below each picture
const GAP = 6;
const BEYOND = 2; // rows kept above and below what is seen

export class Grid extends EventTarget {
  places = [];
  selected = new Set();
  at = 0; // index in `places` of the image that has the focus
  columns = 1;
  #rows = new Map();
  #anchor = 0;

  constructor(scroller, grid, paint) {
    super();
    this.scroller = scroller;
    this.grid = grid;
    this.paint = paint; // paint(place, cell): fills and refreshes a cell
    this.side = 112;
    scroller.addEventListener("scroll", () => this.#show(), { passive: true });
    new ResizeObserver(() => this.resize()).observe(scroller);
    grid.addEventListener("click", (event) => this.#click(event));
    grid.addEventListener("dblclick", (event) => event.target.closest("[role=gridcell]") && this.#say("open"));
    grid.addEventListener("focusin", (event) => {
      const cell = event.target.closest("[role=gridcell]");
      if (cell) this.#point(Number(cell.dataset.index));
    });
  }

  get place() { return this.places[this.at]; }
  get height() { return this.side + CAPTION + GAP; }

  // Show other images; the one in focus keeps it if it is still there.
  fill(places) {
    const held = this.place;
    this.places = places;
    const found = held === undefined ? -1 : places.indexOf(held);
    this.at = Math.max(0, found >= 0 ? found : Math.min(this.at, places.length - 1));
    this.#anchor = this.at;
    const still = new Set(places);
    for (const place of this.selected) if (!still.has(place)) this.selected.delete(place);
    this.#lay();
    this.#say("selected");
  }

  resize(side = this.side) {
    this.side = side;
    const columns = Math.max(1, Math.floor((this.scroller.clientWidth - GAP) / (side + GAP)));
    const top = Math.floor(this.scroller.scrollTop / this.height) * this.columns;
    const wide = (this.scroller.clientWidth - GAP) / columns - GAP;
    if (columns === this.columns && wide === this.wide) return;
    Object.assign(this, { columns, wide });
    this.#lay();
    this.scroller.scrollTop = Math.floor(top / columns) * this.height;
  }

  // The images that a decision is about: the selected ones, else the one in focus.
  get subject() {
    if (this.selected.size) return this.places.filter((place) => this.selected.has(place));
    return this.place === undefined ? [] : [this.place];
  }

  // After a decision: select nothing and go to the image after those it was about.
  advance(places) {
    const about = new Set(places);
    const after = this.places.findLastIndex((place) => about.has(place));
    this.select([]);
    this.go(Math.min(after + 1, this.places.length - 1));
  }

  select(places) {
    this.selected = new Set(places);
    this.repaint();
    this.#say("selected");
  }

  toggle(index = this.at) {
    const place = this.places[index];
    if (place === undefined) return;
    if (!this.selected.delete(place)) this.selected.add(place);
    this.#anchor = index;
    this.repaint([place]);
    this.#say("selected");
  }

  go(index, { extend = false, focus = true } = {}) {
    if (!this.places.length) return;
    const next = Math.max(0, Math.min(index, this.places.length - 1));
    if (extend) this.#range(next);
    else this.#anchor = next;
    this.#point(next);
    this.#reveal(next);
    if (focus) this.cell(next)?.focus({ preventScroll: true });
  }

  // What a key does here; true if it did something.
  key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height)) * this.columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, PageDown: page, PageUp: -page,
      Home: -this.at, End: this.places.length - 1 - this.at,
    };
    if (!(event.key in steps)) return false;
    const next = this.at + steps[event.key];
    if (next >= 0 && next < this.places.length) this.go(next, { extend: event.shiftKey });
    else if (event.key.startsWith("Page")) this.go(next, { extend: event.shiftKey });
    return true;
  }

  cell(index) { return this.grid.querySelector(`[data-index="${index}"]`); }

  // Refresh the cells of some images, or all that exist.
  repaint(places = null) {
    const wanted = places && new Set(places);
    for (const cell of this.grid.querySelectorAll("[role=gridcell]")) {
      const place = Number(cell.dataset.place);
      if (!wanted || wanted.has(place)) this.#refresh(place, cell);
    }
  }

  #range(to) {
    const [low, high] = [Math.min(this.#anchor, to), Math.max(this.#anchor, to)];
    this.select(this.places.slice(low, high + 1));
  }

  #click(event) {
    const cell = event.target.closest("[role=gridcell]");
    if (!cell) return;
    const index = Number(cell.dataset.index);
    if (event.shiftKey) this.go(index, { extend: true });
    else if (event.ctrlKey || event.metaKey || this.marking) { this.go(index); this.toggle(index); }
    else { this.select([]); this.go(index); }
  }

  #point(index) {
    const before = this.cell(this.at);
    if (before) before.tabIndex = -1;
    this.at = index;
    const cell = this.cell(index);
    if (cell) cell.tabIndex = 0;
    this.#say("pointed");
  }

  #reveal(index) {
    const top = Math.floor(index / this.columns) * this.height;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.scroller.scrollTop = top + this.height - clientHeight + GAP;
    this.#show();
  }

  #lay() {
    const focused = this.grid.contains(document.activeElement);
    for (const row of this.#rows.values()) empty(row);
    this.#rows.clear();
    const count = Math.ceil(this.places.length / this.columns);
    this.grid.style.height = `${count * this.height + GAP}px`;
    this.grid.setAttribute("aria-rowcount", count);
    this.grid.setAttribute("aria-colcount", this.columns);
    this.#show();
    if (focused) this.cell(this.at)?.focus({ preventScroll: true });
  }

  #show() {
    const { scrollTop, clientHeight } = this.scroller;
    const count = Math.ceil(this.places.length / this.columns);
    const first = Math.max(0, Math.floor(scrollTop / this.height) - BEYOND);
    const end = Math.min(count, Math.ceil((scrollTop + clientHeight) / this.height) + BEYOND);
    const held = Math.floor(this.at / this.columns); // the row with the focus stays, or the keyboard would lose its place
    for (const [number, row] of this.#rows) {
      if ((number < first || number >= end) && number !== held) { empty(row); this.#rows.delete(number); }
    }
    for (let number = first; number < end; number += 1) this.#ensure(number);
    if (held < count) this.#ensure(held);
  }

  #ensure(number) {
    if (this.#rows.has(number)) return;
    const row = document.createElement("div");
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", number + 1);
    row.style.transform = `translateY(${number * this.height + GAP}px)`;
    row.style.height = `${this.height - GAP}px`;
    const end = Math.min((number + 1) * this.columns, this.places.length);
    for (let index = number * this.columns; index < end; index += 1) row.append(this.#cell(index));
    const after = [...this.#rows.keys()].filter((one) => one > number);
    this.grid.insertBefore(row, after.length ? this.#rows.get(Math.min(...after)) : null); // in order, for screen readers
    this.#rows.set(number, row);
  }

  #cell(index) {
    const cell = document.createElement("div");
    cell.setAttribute("role", "gridcell");
    cell.setAttribute("aria-colindex", (index % this.columns) + 1);
    cell.tabIndex = index === this.at ? 0 : -1;
    cell.dataset.index = index;
    cell.dataset.place = this.places[index];
    cell.style.width = `${this.wide}px`;
    this.#refresh(this.places[index], cell);
    return cell;
  }

  #refresh(place, cell) {
    cell.setAttribute("aria-selected", this.selected.has(place));
    this.paint(place, cell);
  }

  #say(name) { this.dispatchEvent(new Event(name)); }
}

// Images that are no longer wanted must not be fetched any more.
function empty(row) {
  for (const image of row.querySelectorAll("img")) image.removeAttribute("src");
  row.remove();
}
