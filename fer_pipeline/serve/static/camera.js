// The browser's camera: asked for, named, and let go of so that its light goes out.
const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

// A stream, or a rejection whose name `reasonOf` puts into words.
export function openCamera(device) {
  const place = device ? { deviceId: { exact: device } } : { facingMode: "user" };
  return navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...place }, audio: false });
}

export const isAllowed = () => Boolean(navigator.mediaDevices?.getUserMedia);

export function reasonOf(error) {
  if (["NotAllowedError", "SecurityError"].includes(error.name)) return "refused";
  return ["NotFoundError", "OverconstrainedError"].includes(error.name) ? "missing" : "taken";
}

export function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

// A camera that looks at its user is shown like a mirror; one at the back of a phone is not.
export function isMirrored(stream) {
  return stream.getVideoTracks()[0].getSettings().facingMode !== "environment";
}

// Offer the other cameras of this machine; their names are known only once one may be used.
export async function listCameras(label, select, stream) {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  const current = stream.getVideoTracks()[0].getSettings().deviceId;
  select.replaceChildren(...devices.map(({ deviceId, label: name }, place) => (
    new Option(name || String(place + 1), deviceId, false, deviceId === current))));
  label.hidden = devices.length < 2;
}

// A small JPEG of what the video shows now: the server needs no more to find a face.
export function takeFrame(video, canvas, longest = 640) {
  const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.8); });
}
