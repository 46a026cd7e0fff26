// Which images are shown, in which order, and how far each class is.
const TESTS = {
  why: (row, _, value) => value === "on" ? !row.reason : value === "dropped" ? row.reason : `${row.stage} ${row.reason}` === value,
  label: (row, _, value) => (row.label ?? "") === value,
  decided: (_, decision, value) =>
    value === "no" ? !decision?.action : value === "yes" ? Boolean(decision?.action) : decision?.action === value,
  doubt: (row, _, value) => ({
    suspect: row.suspect, wrong: row.predicted !== "" && row.predicted !== row.label, unsure: row.sure !== null && row.sure < 0.6,
  })[value],
  alike: (row, _, value) => value === "tied" ? row.group !== null : row.group === value,
  source: (row, _, value) => row.source === value,
  search: (row, _, value) => `${row.path} ${row.label} ${row.source} ${row.host} ${row.reason}`.toLowerCase().includes(value),
};
const last = (value) => value ?? Infinity;
const ORDERS = {
  quality: (a, b) => last(a.quality) - last(b.quality),
  sure: (a, b) => last(a.sure) - last(b.sure),
  group: (a, b) => (a.group === null) - (b.group === null) || (a.group ?? "").localeCompare(b.group ?? ""),
  source: (a, b) => a.source.localeCompare(b.source),
};

// wanted: {why, label, decided, doubt, alike, source, search, order}; empty values let everything through.
export function choose(store, wanted) {
  const chosen = store.rows.filter((row) => passes(row, store.decision(row.place), wanted));
  const line = (row) => store.decision(row.place)?.line ?? -1;
  const order = wanted.order === "time" ? (a, b) => line(b) - line(a) : ORDERS[wanted.order];
  return (order ? chosen.sort((a, b) => order(a, b) || a.place - b.place) : chosen).map((row) => row.place);
}

function passes(row, decision, wanted, without = "") {
  return Object.entries(TESTS).every(([name, test]) => !wanted[name] || name === without || test(row, decision, wanted[name]));
}

// For each class: {label, done, all} of what would be shown, whatever class is chosen and decided or not.
export function progress(store, wanted) {
  const counts = new Map();
  for (const row of store.rows) {
    if (!passes(row, undefined, { ...wanted, decided: "", label: "" })) continue;
    const label = row.label ?? "";
    if (!counts.has(label)) counts.set(label, { label, done: 0, all: 0 });
    const count = counts.get(label);
    count.all += 1;
    count.done += store.decision(row.place)?.action ? 1 : 0;
  }
  return [...counts.values()].sort((a, b) => a.label.localeCompare(b.label));
}
