"""One camera's session as the page sees it: frames in, and what became of each out."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import PIL.Image

from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.sources.camera.capture_store import CaptureStore
from fer_pipeline.sources.camera.frame_selection import FrameSelector
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import prepare
from fer_pipeline.vision.image_io import BadImage, Image, read_image
from fer_pipeline.workers.picture_pool import PictureFailed, Pool

MAX_PIXELS = 10_000_000  # of a frame
SHOWN = 24  # crops on the page


@dataclass(frozen=True)
class SessionOptions:
    """What is collected: photos of these classes, so many of each a session, with a face by this preprocessing."""

    labels: tuple[str, ...]
    target: int
    preprocessing: Preprocessing


class Found(NamedTuple):
    """The largest face of a frame, and its crop as for training; the size and the box are in pixels of the frame."""

    outcome: Literal["ok", "no_face", "mouth_outside", "mouth_hidden", "bad_image"]
    width: int = 0
    height: int = 0
    box: Box | None = None
    crop: Image | None = None


def find_face(data: bytes, preprocessing: Preprocessing) -> Found:
    """Decode a frame and cut out its largest face, in a worker process."""
    try:
        frame = read_image(data, max_pixels=MAX_PIXELS)
    except BadImage:
        return Found("bad_image")
    height, width = frame.shape[:2]
    found = prepare(frame, preprocessing)
    if not found:
        return Found("no_face", width, height)
    best = found[0]
    if best.missing is not None:
        return Found(best.missing, width, height, best.face.box)
    return Found("ok", width, height, best.face.box, best.image)


FULL = Found("no_face")  # of a frame that was not looked at


class CaptureSession:
    """Decides about frames and keeps the good ones; one for all pages that are open."""

    def __init__(self, options: SessionOptions, store: CaptureStore, pool: Pool) -> None:
        self.options, self.store, self.pool = options, store, pool
        self.selector = FrameSelector()
        self.turn = 0  # grows when a frame on its way must not be kept any more
        self.refused: Counter[str] = Counter()
        self.crops: dict[str, bytes] = {}  # PNG of the photos just kept, by their number

    async def take(self, label: str, data: bytes, turn: int) -> dict[str, Any]:
        """What becomes of a frame that was held up for a class, and came in that turn."""
        if turn == self.turn and self.store.is_over:
            self.end()
            turn = self.turn
        full = self.store.counts[label] >= self.options.target
        found = FULL if full else await self._find_face(data)
        if turn != self.turn:  # it shows the session that was ended, or what was just taken back
            return {"state": self.state()}
        outcome, crop = self._decide(label, data, found)
        number = self._keep(label, data, crop) if crop is not None else None
        if outcome != "kept":
            self.refused[outcome] += 1
        answer = {"label": label, "outcome": outcome, "width": found.width, "height": found.height}
        return answer | {"boxes": [list(found.box)] if found.box else [], "photo": number, "state": self.state()}

    async def _find_face(self, data: bytes) -> Found:
        try:
            return await self.pool.run(find_face, data, self.options.preprocessing)
        except PictureFailed:
            return Found("bad_image")

    def _decide(self, label: str, data: bytes, found: Found) -> tuple[str, Image | None]:
        """`kept` and the crop, or the reason to refuse a frame."""
        if found is FULL or self.store.counts[label] >= self.options.target:  # another page may have been faster
            return "full", None
        if found.crop is None:
            return found.outcome, None
        crop = found.crop
        reason = self.store.refuse(data) or self.selector.refuse(label, crop)
        return (reason, None) if reason else ("kept", crop)

    def _keep(self, label: str, data: bytes, crop: Image) -> str:
        number = self.store.keep(label, data).sha256[:12]
        self.crops[number] = _to_png(crop)
        while len(self.crops) > SHOWN:
            del self.crops[next(iter(self.crops))]
        return number

    def undo(self) -> None:
        """Take the last photo back."""
        self.turn += 1
        row = self.store.undo()
        if row is not None:
            self.selector.forget(str(row.label))
            self.crops.pop(row.sha256[:12], None)

    def end(self) -> None:
        """The person, the place or the light changes: what comes next is another session."""
        self.turn += 1
        self.store.end()
        self.selector, self.refused = FrameSelector(), Counter()
        self.crops.clear()

    def state(self) -> dict[str, Any]:
        """What the page shows beside the camera."""
        here, before = self.store.counts, self.store.before
        shown = [{"photo": number, "label": self._label_of(number)} for number in reversed(self.crops)]
        return {
            "session": self.store.session,
            "target": self.options.target,
            "classes": [{"label": one, "kept": here[one], "before": before[one]} for one in self.options.labels],
            "refused": dict(self.refused),
            "recent": shown,
        }

    def _label_of(self, number: str) -> str:
        return next((str(row.label) for row in reversed(self.store.kept) if row.sha256.startswith(number)), "")


def _to_png(crop: Image) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(crop).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Class names that can be folders, each once; UsageError names the one that cannot."""
    from pydantic import TypeAdapter, ValidationError

    from fer_pipeline.config.schema import Label
    from fer_pipeline.errors import UsageError

    checker: TypeAdapter[str] = TypeAdapter(Label)
    for label in labels:
        try:
            checker.validate_python(label)
        except ValidationError:
            raise UsageError(f"--label {label}: must be a plain name, without slashes or a leading dot") from None
    if not labels:
        raise UsageError("which classes? Name each by --label, as in --label smile --label pout")
    return tuple(dict.fromkeys(labels))
