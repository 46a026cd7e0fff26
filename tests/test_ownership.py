"""Nothing of the user's is lost: fer replaces and removes what its own records name, and nothing else."""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from support.pictures import draw_noise
from support.sequences import seeds

from fer_pipeline.__main__ import main
from fer_pipeline.dataset.provenance import locked_run
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import FerError, UsageError
from fer_pipeline.files import check_target
from fer_pipeline.vision.image_io import write_image

SETTINGS = "name: mine\nworkers: 1\nfilter: {detector: none}\ncrop: {region: whole, size: 32}\n"
PLACES = (
    "", "photos", "photos/a", "site", "logs", "data", "data/mine", "data/mine/raw", "data/mine/raw/a",
    "data/mine/unified/a", "data/mine/unique", "data/mine/crops/b", "data/mine/split/train/a", "data/mine/split/old",
    "runs", "runs/mine", "runs/mine-audit",
)  # fmt: skip
NAMES = (
    "notes.txt", "index.html", "report.html", "sheet.png", "0002.jpg", "journal.jsonl", "manifest.jsonl", "index.json",
    ".hidden", ".a.jpg.part", "decisions.txt", "thesis.csv",
)  # fmt: skip


class Tree:
    """A working folder with the user's own files among fer's."""

    def __init__(self, home: Path, outside: Path, seed: int) -> None:
        self.home, self.outside, self.rng = home, outside, random.Random(seed)
        self.own: dict[Path, bytes] = {}  # by where a hard link to the file lies outside: what it holds
        self.places: dict[Path, Path] = {}  # and where the file lies
        outside.mkdir(parents=True)
        (home / "fer.yaml").parent.mkdir(parents=True, exist_ok=True)
        self.plant(home / "fer.yaml", SETTINGS.encode())
        for label in ("a", "b"):
            for number in range(5):
                path = home / "photos" / label / f"{number:04d}.png"
                write_image(path, draw_noise(number + 100 * ord(label), 40, 40))
                self.plant(path, path.read_bytes())

    def plant(self, path: Path, data: bytes) -> None:
        """A file of the user's, watched by a hard link elsewhere: also what is written into it in place shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
        link = self.outside / str(len(self.own))
        os.link(path, link)
        self.own[link], self.places[link] = data, path

    def plant_anywhere(self) -> None:
        place, name = self.home / self.rng.choice(PLACES), self.rng.choice(NAMES)
        if name.endswith(".jsonl") and (place / "provenance.json").exists():
            return  # that is the name of a record of fer's, in a folder of fer's
        if (place / name).exists():
            return
        if place.parent.is_dir() or self.rng.random() < 0.3:
            self.plant(place / name, self.rng.randbytes(20))

    def fer(self, *words: str) -> None:
        assert main(["-q", *words]) in {0, 1, 2}

    def act(self) -> None:
        rng, place = self.rng, self.rng.choice(PLACES) or "."
        setting = rng.choice(["crop.size=24", "dedupe.distance=0", "split.seed=3", "unify.quality=90"])
        commands = (
            ["import", "folder", "photos"],
            ["import", "folder", "photos", "--output", place],
            ["run", "--until", rng.choice(["unify", "crop", "split"])],
            ["run", "--until", "split", "--set", setting],
            ["run", "--until", "split", "--force"],
            ["unify", "--force", "--set", f"unify.output={place}"],
            ["crop", "--set", f"crop.output={place}"],
            ["run", "--until", "split", "--set", f"data={place}", "--set", f"runs={place}"],
            ["sample", place, "--per-label", "4"] if any((self.home / place).glob("*")) else ["doctor"],
            ["crawl", "--set", "crawl.engines=[sample]", "--set", f"crawl.sample.folder={place}"]
            if any((self.home / place).glob("*"))
            else ["status"],
            ["forget", self.word(), "--yes"],
            ["forget", self.word(), "--all"],
            ["forget", self.word(), "--dry-run"],
            ["show", "data/mine/crops", "--out", self.file()],
            ["status", "--picture", self.file()],
            ["report", place],
            ["init", "lips", "--name", "other"],
        )
        self.fer(*rng.choice(commands))

    def word(self) -> str:
        """What a person may say of an image: its name, a folder, a path of theirs, rubbish."""
        raw = self.home / "data/mine/raw"
        rows = read_rows(raw) if (raw / "provenance.json").is_file() and (raw / "manifest.jsonl").is_file() else []
        known = [word for row in rows for word in (row.path, str(row.source["file"]))]
        return self.rng.choice([*known, "a/", "photos/a/", "0001.png", "data/mine/raw/", ".", "/", "site/index.html"])

    def file(self) -> str:
        return str(self.rng.choice([*self.places.values(), self.home / "new.png"]).relative_to(self.home))

    def train(self, seed: int) -> None:
        """What a training does to the folder of its run."""
        run = self.home / "runs/mine"
        made = {"stage": "train", "settings": {"seed": seed}, "input": "x", "upstream": None}
        with suppress(FerError), locked_run(run, made, force=False):  # refused where it is no run's folder
            (run / "model.onnx").write_bytes(b"model")

    def check(self, told: object) -> None:
        """Every file of the user's is there, with its bytes; a run kept under a number took its files along."""
        for link, data in self.own.items():
            assert link.read_bytes() == data, told
            place = self.places[link]
            moved = [place, *self.home.glob(f"runs/mine.*/{place.name}")] if place.parent.name == "mine" else [place]
            assert any(one.exists() and one.samefile(link) for one in moved), (told, place)


@pytest.mark.parametrize("seed", seeds())
def test_no_sequence_of_commands_loses_a_file_of_the_users(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path / "home", tmp_path / "outside", seed)
    monkeypatch.chdir(tree.home)
    tree.fer("import", "folder", "photos")
    for turn in range(8):
        tree.plant_anywhere()
        before = tree.rng.getstate()
        tree.act()
        if tree.rng.random() < 0.2:
            tree.train(turn)
        tree.check((seed, turn, before[1][:2]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.html", "<html><p>My notes on fer-pipeline</p></html>"),
        ("sheet.png", "a list of fer-pipeline's pictures"),
    ],
)
def test_a_file_that_only_mentions_fer_is_the_users(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match="fer did not write it"):
        check_target(path)
