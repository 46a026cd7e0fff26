// Smooths what is said of a video: a face keeps its place in the list, and its box and probabilities change gently.
const SHARES_OVER = 500; // ms after which an old answer counts 1/e: a mouth takes about as long to change
const BOX_OVER = 80; // ms: enough against jitter, too little to trail behind a head
const KEPT = 400; // ms that a face is still shown when the detector misses it
const SAME = 0.3; // overlap from which two boxes are one face

export class Tracks {
  constructor() {
    this.forget();
  }

  forget() {
    this.tracks = [];
  }

  // The faces of the newest frame (now in ms), averaged with those before. The limits are those of the model: below the
  // confidence `uncertain`, or above the distance `unknown` (0: never), it does not commit itself.
  follow(faces, now, limits = {}) {
    const free = new Set(this.tracks);
    for (const face of faces) {
      const known = nearest(face.box, free);
      free.delete(known);
      if (known) blend(known, face, now);
      else this.tracks.push(begin(face, now));
    }
    this.tracks = this.tracks.filter((track) => now - track.seen <= KEPT);
    return this.tracks.map((track) => toFace(track, limits));
  }
}

function nearest(box, tracks) {
  let best = null, most = SAME;
  for (const track of tracks) {
    const shared = overlap(box, track.box);
    if (shared >= most) [best, most] = [track, shared];
  }
  return best;
}

// Intersection over union.
export function overlap(one, other) {
  const wide = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const high = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  if (wide <= 0 || high <= 0) return 0;
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return wide * high / (area(one) + area(other) - wide * high);
}

// Why a face has no class; what was seen of it before is forgotten then.
const missingOf = (face) => (Object.keys(face.probabilities).length ? "" : face.outcome);

function begin(face, now) {
  const { box, probabilities, distance = null } = face;
  return { box: [...box], shares: { ...probabilities }, distance, missing: missingOf(face), seen: now };
}

function blend(track, face, now) {
  const weight = (over) => 1 - Math.exp(-(now - track.seen) / over);
  const mix = (old, fresh, share) => old + share * (fresh - old);
  track.box = track.box.map((old, side) => mix(old, face.box[side], weight(BOX_OVER)));
  track.missing = missingOf(face);
  if (track.missing) [track.shares, track.distance] = [{}, null];
  for (const [label, share] of Object.entries(face.probabilities)) {
    track.shares[label] = mix(track.shares[label] ?? share, share, weight(SHARES_OVER));
  }
  if (face.distance != null) track.distance = mix(track.distance ?? face.distance, face.distance, weight(SHARES_OVER));
  track.seen = now;
}

function toFace(track, { uncertain = 0, unknown = 0 }) {
  if (track.missing) return { box: track.box, outcome: track.missing, guess: null, confidence: null, probabilities: {} };
  const [guess, confidence] = Object.entries(track.shares).reduce((best, one) => (one[1] > best[1] ? one : best));
  const other = unknown && track.distance > unknown;
  const outcome = other ? "unknown" : confidence < uncertain ? "uncertain" : "answered";
  return { box: track.box, outcome, guess, confidence, probabilities: { ...track.shares }, distance: track.distance };
}
