"""Batches for training, each copied at once out of the memory-mapped array, and the samplers that order them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.data import Crops, source_of
from fer_pipeline.models.distributed import Share, count_processes, take_share

Batch = tuple[Tensor, Tensor, Share]
Loader = DataLoader[Batch]


class _BatchDataset(Dataset[Batch]):
    """Return whole batches by a single copy out of the array, without collating image by image.

    Every process asks for the same batches, and gets its share of each.
    """

    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops.targets)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        share = take_share(len(indices))
        own = indices[share.start : share.stop]
        images = torch.from_numpy(np.asarray(self.crops.images[own]))
        return images, torch.from_numpy(self.crops.targets[own]), share


class InOrder(Sampler[int]):
    """Go through every crop once, in order."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __iter__(self) -> Iterator[int]:
        yield from range(len(self.targets))


class Shuffled(InOrder):
    """Go through every crop once, in an order drawn from seed and epoch; Lightning sets the epoch."""

    def __init__(self, targets: Tensor, seed: int) -> None:
        super().__init__(targets)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        yield from self.draw(torch.Generator().manual_seed(self.seed + self.epoch)).tolist()

    def draw(self, rng: torch.Generator) -> Tensor:
        """Draw the indices of an epoch's crops, in their order."""
        return torch.randperm(len(self.targets), generator=rng)


class Balanced(Shuffled):
    """Draw as many crops of each class, in all about as many as there are: those of small classes come repeatedly.

    With `sources` (n,), classes keep their sizes, and each takes as many crops of every source that has it, so that no
    class is recognised by its source (group balancing, Idrissi et al. 2022).
    """

    def __init__(self, targets: Tensor, seed: int, sources: Tensor | None = None) -> None:
        super().__init__(targets, seed)
        classes = sorted(set(targets.tolist()))
        self.cells: list[tuple[Tensor, int]] = []  # the crops to draw from, and how many
        for target in classes:
            own = (targets == target).nonzero()[:, 0]
            if sources is None:
                self.cells.append((own, -(-len(targets) // len(classes))))
                continue
            present = sorted(set(sources[own].tolist()))
            self.cells += [(own[sources[own] == name], -(-len(own) // len(present))) for name in present]

    def __len__(self) -> int:
        return sum(quota for _, quota in self.cells)

    def draw(self, rng: torch.Generator) -> Tensor:
        """Draw the indices of an epoch; all crops of a cell come once before any of them comes twice."""
        chosen = []
        for members, quota in self.cells:
            drawn = [members[torch.randperm(len(members), generator=rng)] for _ in range(-(-quota // len(members)))]
            chosen.append(torch.cat(drawn)[:quota])
        return torch.cat(chosen)[torch.randperm(len(self), generator=rng)]


def make_batches(crops: Crops, config: TrainConfig, batch: int, *, shuffle: bool) -> Loader:
    """Make a loader of images uint8 (B, size, size, 3), targets int64 (B,), and their share of the whole batch."""
    targets = torch.from_numpy(crops.targets)
    sampler = _choose_sampler(crops, targets, config) if shuffle else InOrder(targets)
    return DataLoader(
        _BatchDataset(crops),
        batch_size=batch,
        sampler=sampler,
        collate_fn=lambda batch: batch,
        drop_last=shuffle and _drops_last(len(sampler), batch),
    )


def _choose_sampler(crops: Crops, targets: Tensor, config: TrainConfig) -> Shuffled:
    if config.sampler == "shuffled":
        return Shuffled(targets, config.seed)
    names = [source_of(row) for row in crops.rows]
    sources = torch.tensor([sorted(set(names)).index(name) for name in names])
    return Balanced(targets, config.seed, sources if config.sampler == "sources" else None)


def _drops_last(count: int, batch: int) -> bool:
    """Whether to leave the last batch out: a small one is a noisy step, and one crop alone has no batch norm."""
    return count >= 4 * batch or 0 < count % batch < max(2, count_processes())
