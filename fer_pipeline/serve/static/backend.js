// Who answers the page: the server. In the folder of `fer export --web` a module of the same exports stands here.
export { ask } from "./ask.js";
export { Line } from "./line.js";

const PATIENCE = 20_000; // ms

// The models and limits, or null if nobody says.
export async function describe() {
  const response = await fetch("version", { signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
  return response?.ok ? response.json().catch(() => null) : null;
}

// The example picture, or null.
export async function fetchExample() {
  const response = await fetch("example.jpg").catch(() => null);
  return response?.ok ? response.blob() : null;
}

// Whether pictures stay on this machine.
export const isHere = () => ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
