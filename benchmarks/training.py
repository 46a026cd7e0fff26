"""Training speed of every shipped recipe beside the loop people write.  `python -m benchmarks.training CROPS`"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# recipe: what `fer train` is told; the loop beside it uses the same network, side and batch
RECIPES: dict[str, dict[str, object]] = {
    "tutorial": {"network": "simpleconv3", "size": 48, "batch": 16, "augment": "light", "optimizer": "adam"},
    "lips": {"network": "compact_resnet", "size": 64, "batch": 64, "augment": "strong"},
    "fer2013": {"network": "medium_resnet", "size": 48, "batch": 128, "augment": "light", "grey": True},
    "fer2013, the blog's": {"network": "fer_cnn", "size": 48, "batch": 128, "augment": "light", "optimizer": "adam"},
    "faces5": {"network": "prelu_cnn", "size": 64, "batch": 64, "augment": "light", "loss": "focal"},
    "faces7": {"network": "vgg_small", "size": 64, "batch": 64, "augment": "light"},
}


def main() -> None:
    """Print a table; the two loops alternate, three rounds each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crops", type=Path, help="a folder per class of crops")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=list(RECIPES), help="some of the recipes")
    given = parser.parse_args()
    print("| recipe | network | ours | loop | ratio |\n|---|---|---|---|---|")
    for name in given.only:
        recipe = RECIPES[name]
        ours, loop = [], []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as folder:
                ours.append(time_ours(given.crops, Path(folder) / "run", recipe))
            loop.append(time_loop(given.crops, recipe))
        speeds = median(ours), median(loop)
        told = f"{speeds[0]:,.0f} images/s | {speeds[1]:,.0f} images/s | {speeds[0] / speeds[1]:.1f}"
        print(f"| {name} | `{recipe['network']}`, {recipe['size']} px, batch {recipe['batch']} | {told} |", flush=True)


def time_ours(crops: Path, run: Path, recipe: dict[str, object]) -> float:
    """Images a second of our loop: the median of three epochs after the first, validation included."""
    from fer_pipeline.config.schema import TrainConfig
    from fer_pipeline.training.history import read_history
    from fer_pipeline.training.train import train

    train(TrainConfig.model_validate({"input": crops, "output": run, "epochs": 4} | recipe))
    count = sum(1 for path in crops.glob("*/*")) * 0.9
    return count / median(row["seconds"] for row in read_history(run)[1:])


def time_loop(crops: Path, recipe: dict[str, object]) -> float:
    """Images a second of ImageFolder, PIL transforms and a DataLoader with a worker, one epoch."""
    from benchmarks.tutorial import train_epochs

    size, batch = int(str(recipe["size"])), int(str(recipe["batch"]))
    started = time.perf_counter()
    return train_epochs(crops, 1, str(recipe["network"]), size, batch) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
