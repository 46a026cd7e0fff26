"""Every setting of every command on one page, as frozen pydantic models.

Loading a configuration touches no data, network or GPU: it only says what is wanted. `loader` reads the YAML.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

# stage: (folder it reads, folder it writes), both below data/NAME unless the section names another
FOLDERS: dict[str, tuple[str | None, str]] = {
    "crawl": (None, "raw"),
    "unify": ("raw", "unified"),
    "dedupe": ("unified", "unique"),
    "filter": ("unique", "faces"),
    "crop": ("faces", "crops"),
    "split": ("crops", "split"),
}

Share = Annotated[float, Field(gt=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]
EngineName = Literal["sample", "urls", "site", "bing", "baidu", "google", "flickr", "openverse"]
MAX_NAME = 240  # bytes of a folder's name; file systems take 255, and a suffix may follow


def _check_label(value: str) -> str:
    if value.lower().endswith((".json", ".jsonl")):
        raise ValueError("ends as records of fer do, so that no folder can bear it")
    if len(value.encode()) > MAX_NAME:
        raise ValueError("is longer than a folder's name can be")
    return value


Label = Annotated[
    str, Field(pattern=r"^[^/\\.\x00-\x1f][^/\\\x00-\x1f]*$", max_length=64), AfterValidator(_check_label)
]


def _check_base(value: dict[EngineName, str]) -> dict[EngineName, str]:
    if "urls" in value:
        raise PydanticCustomError("base", "has no engine `urls`, whose lists hold whole addresses")
    return value


def _workers(value: Any) -> Any:
    if value == "ray" or (type(value) is int and 0 <= value <= 512):
        return value
    raise PydanticCustomError("workers", "should be a valid integer from 0 to 512, or ray")


def _expand_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home
        raise PydanticCustomError("home", "should begin with a home folder there is") from None


def _expand_text(text: str) -> str:
    return str(_expand_home(Path(text))) if text.startswith("~") else text


UserPath = Annotated[Path, AfterValidator(_expand_home)]  # a file or folder; a leading `~` is the home folder


class Section(BaseModel):
    """Settings are frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StageConfig(Section):
    """Where a stage reads and where it writes."""

    input: UserPath = Field(description="folder to read; default: what the stage before it writes")
    output: UserPath = Field(description="folder to write; default: data/NAME/ and the stage's own folder")


class SampleConfig(Section):
    """The embedded gallery that the engine `sample` draws and serves."""

    per_label: int = Field(48, ge=4, le=10_000, description="photos drawn per expression")
    seed: int = Field(0, ge=0, description="another seed draws other faces")
    folder: UserPath | None = Field(None, description="where it is drawn; default: data/NAME/gallery")


class CrawlConfig(Section):
    """Fetch photos from search engines, lists of URLs and web pages."""

    output: UserPath = Field(description="folder to write; default: data/NAME/raw")
    engines: tuple[EngineName, ...] = Field(("bing", "baidu"), min_length=1, description="asked for every class")
    keywords: dict[Label, tuple[str, ...]] = Field({}, description="class: search words, several languages welcome")
    urls: dict[Label, UserPath] = Field(
        {}, description="class: text file beside this one, one URL a line (engine `urls`)"
    )
    sites: dict[Label, tuple[str, ...]] = Field({}, description="class: pages whose pictures are taken (engine `site`)")
    limit: int = Field(200, ge=1, le=100_000, description="results per class, engine and keyword")
    licence: Literal["any", "commercial", "noncommercial", "share"] = Field(
        "any", description="licence filter asked for"
    )
    safe: bool = Field(True, description="ask every engine that can to leave out what is not safe for all")
    base: Annotated[dict[EngineName, str], AfterValidator(_check_base)] = Field(
        {}, description="engine: another base address, for mirrors and tests"
    )
    # Left out wherever settings are written: a run's folder is passed on, a key is not.
    flickr_key: str = Field("", exclude=True, repr=False, description="API key of the engine `flickr`")
    threads: int = Field(4, ge=1, le=64, description="downloads at once per engine")
    timeout: float = Field(15, gt=0, le=600, description="seconds to wait for a server")
    retries: int = Field(2, ge=1, le=10, description="times a failed request is asked in all")
    interval: float = Field(0.5, ge=0, le=3600, description="seconds between two requests to one host")
    robots: Literal["pictures", "all", "none"] = Field("pictures", description="which requests obey robots.txt")
    allow_private: bool = Field(False, description="also ask hosts on this machine and in local networks")
    max_bytes: int = Field(30_000_000, ge=1000, description="largest file taken, in bytes")
    contact: str = Field("", description="address put into the user agent, so that a site can reach you")
    sample: SampleConfig = Field(SampleConfig(), description="the gallery of the engine `sample`")


class UnifyConfig(StageConfig):
    """Turn everything readable into upright RGB JPEG."""

    quality: int = Field(95, ge=50, le=100, description="JPEG quality of what is written")
    longest: int = Field(1600, ge=48, description="larger photos are shrunk to this longest side, in pixels")
    smallest: int = Field(32, ge=1, description="photos with a shorter side are dropped, in pixels")
    max_pixels: int = Field(100_000_000, ge=1000, description="photos that claim more are dropped unopened")


class DedupeConfig(StageConfig):
    """Drop copies: a perceptual hash proposes, the pixels decide."""

    hash: Literal["phash", "dhash", "ahash", "whash"] = Field("phash", description="kind of 64-bit perceptual hash")
    distance: int = Field(4, ge=0, le=16, description="differing bits up to which two photos may be copies")
    group_distance: int = Field(8, ge=0, le=20, description="differing bits up to which a split never parts them")
    check: Literal["pixels", "hash"] = Field(
        "pixels", description="what decides whether photos whose hashes are that near are copies"
    )
    conflicts: Literal["drop", "keep"] = Field("drop", description="copies with conflicting labels")


class Detector(Section):
    """How faces are found; a model file carries it along."""

    detector: Literal["none", "haar", "hog", "cnn", "yunet"] = Field("yunet", description="kind of face detector")
    second: Literal["none", "hog", "cnn", "yunet"] | None = Field(
        None,
        description="detector to ask where the first sees no face; default: hog (yunet, unless crop.align_by is five), "
        "none (others)",
    )
    sides: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        min_length=1,
        description="longest sides to look at in turn until a face is found; 0: full size; default: 160, 320, 640 "
        "(yunet), 200, 320, 480 (others)",
    )
    enlarge: bool = Field(False, description="also enlarge smaller photos to those sides, for small faces")
    threshold: float | None = Field(
        None, description="lowest score of a face; default: 0.8 (yunet), 0 (hog, cnn); haar has none"
    )
    scale_factor: float = Field(1.1, gt=1.0, le=2.0, description="step between two sizes (haar)")
    min_neighbors: int = Field(5, ge=0, le=50, description="hits that must agree (haar)")
    min_size: int = Field(30, ge=1, description="smallest face on the shrunk copy, in pixels (haar)")
    weights: UserPath | None = Field(None, description="model file in place of the packaged one (cnn, yunet)")

    @property
    def asked_next(self) -> "Detector | None":
        """The detector of the second look, with its defaults; None if there is none."""
        second = self.second or ("hog" if self.detector == "yunet" else "none")
        return None if second in {"none", self.detector} else Detector(detector=second, second="none")

    @property
    def looked_at(self) -> tuple[int, ...]:
        """The longest sides of the copies that are looked at, in pixels."""
        return self.sides or ((160, 320, 640) if self.detector == "yunet" else (200, 320, 480))

    @property
    def least_score(self) -> float:
        """The lowest score of a face."""
        return self.threshold if self.threshold is not None else 0.8 if self.detector == "yunet" else 0.0


class FilterConfig(Detector, StageConfig):
    """Drop photos without a face."""

    every: bool = Field(
        False, description="look on for smaller faces once one is found; default: true where crop.faces is not largest"
    )


class CropSettings(Section):
    """What is cut out of a photo; a model file carries it along."""

    region: Literal["lips", "face", "whole"] = Field("lips", description="whole: the photo is a crop already")
    scale: Literal["mouth", "eyes"] = Field("mouth", description="what the square's side is measured by")
    margin: float | None = Field(
        None,
        ge=0.5,
        le=6,
        description="side of the square over the region's longer side (scale: mouth, default 1.5) "
        "or over the distance of the outer eye corners (scale: eyes, default 1.05 for lips, 2.2 for face)",
    )
    align: bool = Field(False, description="level the crop by the eyes")
    align_by: Literal["landmarks", "five"] = Field(
        "landmarks",
        description="what places the square: dlib's 68 points, or YuNet's five, as `fer export --web` needs it",
    )
    faces: Literal["largest", "all", "single"] = Field("largest", description="for photos with several people")
    size: int = Field(96, ge=16, le=1024, description="side of the crop in pixels")
    mouth_check: bool = Field(
        True, description="drop a crop whose mouth lies outside the photo or is covered; face: much of it outside"
    )
    landmarks: UserPath | None = Field(
        None, description="dlib 68-point model in place of the packaged one, or a MediaPipe face mesh (`.tflite`)"
    )

    @property
    def needs_landmarks(self) -> bool:
        """Whether the 68 landmarks place the square."""
        return self.region != "whole" and self.align_by == "landmarks"


class CropConfig(CropSettings, StageConfig):
    """Cut out the lips or the face by dlib's 68 points, or YuNet's five."""

    embedding: bool = Field(False, description="also measure dlib's 128-d face embedding, to tell people apart")


class SplitConfig(StageConfig):
    """Part the crops into train and test; near-copies stay together."""

    test_share: Share = Field(0.1, description="share of the images for the test part")
    seed: int = Field(0, ge=0, description="another seed parts them in another way")
    labels: tuple[Label, ...] = Field((), description="classes to use, in this order; default: all, by name")
    same_person: float | None = Field(
        None,
        gt=0,
        le=1.5,
        description="embedding distance up to which two faces are one person; 0.5 is usual, and from 0.55 on strangers "
        "are chained together (docs/results.md)",
    )


class Strength(Section):
    """How far augmentation may go, in place of what the preset says; a `_chance` is the share of crops that get it."""

    flip_chance: Chance | None = Field(None, description="mirrored")
    degrees: float | None = Field(None, ge=0, le=180, description="turned, to either side")
    zoom: float | None = Field(None, ge=0, le=2, description="0.2: between 1/1.2 and 1.2 times the size")
    shift: Chance | None = Field(None, description="moved, in shares of the side")
    shear: Chance | None = Field(None, description="sheared, as a tangent")
    area_lowest: float | None = Field(
        None,
        gt=0,
        le=1,
        description="area of a window cut out and resized to `center_crop`, 0.08: 8 to 100 % of the crop",
    )
    aspect: float | None = Field(None, ge=0, le=2, description="1/3: such windows are 3/4 to 4/3 as wide as high")
    brightness: Chance | None = Field(None, description="added or taken, in shares of the full range")
    contrast: Chance | None = Field(None, description="gain about the mean of the crop, 0.2: 0.8 to 1.2")
    saturation: Chance | None = Field(None, description="gain of the colourfulness")
    cast: Chance | None = Field(None, description="gain of each colour channel by itself")
    grey_chance: Chance | None = Field(None, description="without colour")
    blur_chance: Chance | None = Field(None, description="blurred")
    low_resolution_chance: Chance | None = Field(None, description="shrunk and enlarged again")
    jpeg_chance: Chance | None = Field(None, description="with JPEG's losses")
    erase_chance: Chance | None = Field(None, description="with a rectangle covered")


class TrainConfig(Section):
    """Train a classifier on a split folder."""

    input: UserPath = Field(description="folder to read; default: data/NAME/split")
    output: UserPath = Field(description="folder of the run; default: runs/NAME")
    network: str = Field("compact_resnet", description="see docs/networks.md, or any torchvision classifier's name")
    weights: Annotated[str, AfterValidator(_expand_text)] | None = Field(
        None, description="torchvision weights (`DEFAULT`) or a file to start from"
    )
    size: int | None = Field(None, ge=16, le=512, description="input side in pixels; default: the network's own")
    center_crop: int | None = Field(
        None, ge=16, le=512, description="side of the window the network sees: random in training, else the middle"
    )
    grey: bool = Field(False, description="throw colours away")
    standardise: bool = Field(False, description="bring every crop to mean 0 and deviation 1")
    dropout: Chance | None = Field(None, description="before the last layer; default: the network's own")
    geometry: bool = Field(False, description="the outline of the lips as a second input beside the pixels")
    geometry_share: Share | None = Field(
        None, description="how much it counts, 0.5: as much as the pixels; default: what suits the validation part"
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="passes over the training part; default: as many as make 1,600 steps, 20 to 200",
    )
    batch: int | None = Field(
        None, ge=2, le=4096, description="crops a step; default: 32 below 2,000 images, 64 below 10,000, else 128"
    )
    optimizer: Literal["adam", "adamw"] = Field("adamw", description="kind of optimizer")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="largest learning rate")
    weight_decay: float = Field(0.05, ge=0, le=1, description="of AdamW")
    schedule: Literal["onecycle", "cosine", "step", "constant"] = Field("onecycle", description="of the learning rate")
    step_epochs: int = Field(100, ge=1, description="epochs between two tenfold drops (schedule: step)")
    gradient_clip: float = Field(5, ge=0, description="largest norm of the gradient; 0: any")
    loss: Literal["cross_entropy", "focal"] = Field("cross_entropy", description="focal: easy crops count less")
    focal_gamma: float = Field(2, ge=0, le=10, description="how much less easy crops count (loss: focal)")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the target spread over all classes")
    ema: float = Field(0.998, ge=0, lt=1, description="decay a step of the averaged weights; 0: none")
    class_weights: Literal["none", "balanced"] = Field("none", description="weigh rare classes up in the loss")
    sampler: Literal["shuffled", "balanced", "sources"] = Field(
        "shuffled", description="balanced: as many crops of each class; sources: within a class, of each source"
    )
    augment: Literal["none", "light", "strong"] = Field("strong", description="how crops are varied in training")
    strength: Strength = Field(Strength(), description="single augmentations, in place of the preset's")
    mixup: float = Field(
        0, ge=0, le=10, description="alpha of mixup, which blends pairs of crops; 0: off, 0.2 is usual"
    )
    flip: bool = Field(
        True, description="mirror in training and average over both at prediction; false: `strength.flip_chance` alone"
    )
    tta_crops: Literal[1, 5] = Field(
        1, description="windows averaged over at prediction (test-time augmentation); 5: the middle and the corners"
    )
    validation_share: Share = Field(0.1, description="share of train held back to choose the best epoch")
    patience: int = Field(0, ge=0, description="stop after so many epochs without gain; 0: never")
    monitor: Literal["loss", "accuracy"] = Field("loss", description="of the validation part, tells the best epoch")
    keep: Literal["best", "last"] = Field("best", description="the epoch whose weights become the model")
    seed: int = Field(0, ge=0, description="of weights, order and augmentation")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="auto: bf16 where the processor computes in it (AMX, recent GPUs), else 32"
    )
    logger: Literal["none", "tensorboard", "trackio"] = Field(
        "none", description="also show the epochs there; both stay on this machine"
    )
    calibrate: bool = Field(True, description="fit a temperature on the validation part")
    unknown: float = Field(
        0.95,
        ge=0,
        lt=1,
        description="share of the validation part that stays known, the rest too far from training; 0: off",
    )
    uncertain: Chance = Field(0, description="answers less confident than this are called uncertain")


class AuditConfig(Section):
    """Look for what tells the label besides the expression, and for suspect labels."""

    folds: int = Field(
        5, ge=2, le=100, description="folds; the labels of each are predicted by models trained on the others"
    )
    limit: float = Field(
        0.6,
        ge=0.5,
        lt=1,
        description="balanced accuracy over which an attribute of the files raises the alarm, by the lower end of its "
        "95 % interval; chance is 0.5",
    )
    shown: int = Field(24, ge=1, le=500, description="suspect images on the page, per class")


class Config(Section):
    """One experiment, from search words to a model."""

    name: Label = Field(description="names the folders of this experiment")
    data: UserPath = Field(Path("data"), description="where the stages write")
    runs: UserPath = Field(Path("runs"), description="where training writes")
    workers: Annotated[int | Literal["ray"], PlainValidator(_workers)] = Field(
        0, description="processes per stage, up to 512; 0: one per core, two at least; ray: a Ray cluster"
    )
    crawl: CrawlConfig
    unify: UnifyConfig
    dedupe: DedupeConfig
    filter: FilterConfig
    crop: CropConfig
    split: SplitConfig
    train: TrainConfig
    audit: AuditConfig = AuditConfig()


class Preprocessing(Section):
    """All that leads from a photo to crops: stored in every model file."""

    detector: Detector = Detector(detector="none")
    cut: CropSettings = CropSettings(region="whole")


def with_folders(settings: dict[str, Any]) -> dict[str, Any]:
    """Fill in the folders a configuration leaves open: each stage reads what the one before it writes."""
    home = Path(str(settings.get("data", "data"))) / str(settings.get("name", ""))
    filled = dict(settings)
    written: dict[str, str] = {}
    for stage, (source, folder) in FOLDERS.items():
        folders = {"output": str(home / folder)} | ({} if source is None else {"input": written[source]})
        filled[stage] = _filled(filled.get(stage), folders)
        written[folder] = filled[stage]["output"] if isinstance(filled[stage], dict) else ""
    if isinstance(filled["filter"], dict) and isinstance(filled["crop"], dict):
        filled["filter"].setdefault("every", filled["crop"].get("faces", "largest") != "largest")
        if filled["crop"].get("align_by") == "five":  # then all that leads to a crop is a single small model
            filled["filter"].setdefault("second", "none")
    run = str(Path(str(settings.get("runs", "runs"))) / str(settings.get("name", "")))
    return {**filled, "train": _filled(filled.get("train"), {"input": written["split"], "output": run})}


def _filled(section: Any, folders: dict[str, str]) -> Any:
    """A section with the folders it leaves open; what is no section is left for the check to refuse."""
    return folders | (section or {}) if section is None or isinstance(section, dict) else section
