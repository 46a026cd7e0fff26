"""A camera for the tests of our pages: a film of drawn people, and what a page does with its streams."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_pipeline.sources.sample import draw_photo, random_face
from fer_pipeline.sources.sample.junk import to_jpeg
from support.pictures import facing

# Run in the page before it asks for the camera: keeps the streams it gets.
WATCH_STREAMS = """() => {
  window.streams = [];
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (options) => {
    const stream = await ask(options);
    streams.push(stream);
    return stream;
  };
}"""
# "live" or "ended" for every track it got: the camera's light is out when all have ended.
TRACK_STATES = "() => streams.flatMap((stream) => stream.getTracks().map((track) => track.readyState))"
# Run before WATCH_STREAMS: the camera opens when the test calls openCamera(), which waits until the page had its turn.
HOLD_CAMERA = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  const stream = ask({ video: true });
  navigator.mediaDevices.getUserMedia = () => opened.then(() => stream);
  window.openCamera = async () => {
    open();
    await stream;
    await new Promise((resolve) => { setTimeout(resolve); });
  };
}"""
# What a page sees when another tab comes before it, which a headless browser cannot do.
HIDE_PAGE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def film_people(path: Path, width: int = 480, height: int = 360, seed: int = 12) -> Path:
    """A .mjpeg of two drawn people who sway, for `fake_camera`."""
    rng = np.random.default_rng(seed)
    left = random_face(rng, "smile", width, height, (width * 0.31, height * 0.42), height * 0.42)
    right = random_face(rng, "neutral", width, height, (width * 0.75, height * 0.42), height * 0.33)
    people = [replace(facing(one), tilt=0.0) for one in (left, right)]
    frames = []
    for step in (0, 2, 4, 2):
        moved = [replace(one, centre=(one.centre[0] + step, one.centre[1])) for one in people]
        frames.append(to_jpeg(draw_photo(moved, width, height, np.random.default_rng(5))[0], 90))
    path.write_bytes(b"".join(frames))
    return path
