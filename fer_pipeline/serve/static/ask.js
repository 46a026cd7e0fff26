// Asks the server about one picture. What goes wrong comes back too: as {problem: a key of words.js, again: worth a retry}.
const TRIES = 3;
const PATIENCE = 60_000; // ms for one answer
const LONGEST_WAIT = 10; // s, whatever Retry-After says

// A question that `signal` ends is answered by nothing.
export async function ask(file, model, limits, onWait, signal) {
  const refused = await refuse(file, limits);
  if (refused) return { problem: refused, values: sizes(limits) };
  for (let tries = 1; ; tries += 1) {
    const response = await post(file, model, signal);
    if (signal.aborted) return { problem: "offline" };
    if (!response) return { problem: "offline", again: true };
    if (response.status !== 503) return read(response, limits);
    if (tries === TRIES) return { problem: "busy", again: true };
    const seconds = Math.min(Number(response.headers.get("retry-after")) || 1, LONGEST_WAIT);
    onWait(seconds);
    await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
  }
}

// What can be told without sending the file: most of all a dropped folder, which would look like a broken connection.
async function refuse(file, limits) {
  if (limits.max_bytes && file.size > limits.max_bytes) return "too_heavy";
  try {
    return (await file.slice(0, 1).arrayBuffer()).byteLength ? null : "empty";
  } catch {
    return "unreadable";
  }
}

// Only the picture is sent, not its file name.
async function post(file, model, asked) {
  const query = model ? `?model=${encodeURIComponent(model)}` : "";
  const headers = { "content-type": "application/octet-stream" };
  const signal = AbortSignal.any([asked, AbortSignal.timeout(PATIENCE)]);
  try {
    return await fetch(`predict${query}`, { method: "POST", headers, body: file, signal });
  } catch {
    return null;
  }
}

async function read(response, limits) {
  const answer = await response.json().catch(() => ({}));
  const result = answer.results?.[0];
  if (result?.faces?.length) return { result };
  if (result) return { problem: result.outcome, values: sizes(limits), hint: result.outcome === "no_face" };
  if (response.status === 413) return { problem: "too_heavy", values: sizes(limits) };
  const detail = typeof answer.detail === "string" ? answer.detail : "";
  return { problem: "strange", values: { status: response.status, detail }, again: true };
}

function sizes(limits) {
  return {
    megabytes: limits.max_bytes ? Math.floor(limits.max_bytes / 1e5) / 10 : "",
    megapixels: limits.max_pixels ? Math.floor(limits.max_pixels / 1e5) / 10 : "",
  };
}
