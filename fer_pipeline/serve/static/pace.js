// How fast the webcam is answered: frames a second and milliseconds from frame to overlay, as medians of the last answers.
const REMEMBERED = 30;
const ENOUGH = 5; // answers before anything is said: the first ones warm up

export class Pace {
  constructor() {
    this.forget();
  }

  forget() {
    this.gaps = [];
    this.delays = [];
    this.last = null;
  }

  note(taken, now) {
    if (this.last !== null) push(this.gaps, now - this.last);
    if (taken !== undefined) push(this.delays, now - taken);
    this.last = now;
  }

  // null until there is enough to tell.
  tell() {
    if (this.gaps.length < ENOUGH) return null;
    const rate = 1000 / Math.max(1, median(this.gaps));
    return { rate: rate.toFixed(rate < 10 ? 1 : 0), latency: Math.round(median(this.delays)) };
  }
}

function push(list, value) {
  list.push(value);
  if (list.length > REMEMBERED) list.shift();
}

export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
