"""Batches for training, each copied at once out of the memory-mapped array, and the sampler that balances them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.models.data import Crops, source_of
from fer_pipeline.models.distributed import count_processes, rank

Batch = tuple[Tensor, Tensor]
Loader = DataLoader[Batch]


class _BatchDataset(Dataset[Batch]):
    """Return whole batches by a single copy out of the array, without collating image by image."""

    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops.targets)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        return torch.from_numpy(np.asarray(self.crops.images[indices])), torch.from_numpy(self.crops.targets[indices])


class Balanced(DistributedSampler[int]):
    """Draw as many crops of each class, in all about as many as there are: those of small classes come repeatedly.

    With `sources` (n,), classes keep their sizes, and each takes as many crops of every source that has it, so that no
    class is recognised by its source (group balancing, Idrissi et al. 2022).
    """

    def __init__(self, dataset: Dataset[Any], targets: Tensor, seed: int, sources: Tensor | None = None) -> None:
        super().__init__(dataset, count_processes(), rank(), seed=seed)
        classes = sorted(set(targets.tolist()))
        self.cells: list[tuple[Tensor, int]] = []  # the crops to draw from, and how many
        for target in classes:
            own = (targets == target).nonzero()[:, 0]
            if sources is None:
                self.cells.append((own, -(-len(targets) // len(classes))))
                continue
            present = sorted(set(sources[own].tolist()))
            self.cells += [(own[sources[own] == name], -(-len(own) // len(present))) for name in present]
        self.drawn = sum(quota for _, quota in self.cells)
        self.num_samples = -(-self.drawn // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        """Draw an epoch, of which each process takes its part; a cell's crops all come once before any comes twice."""
        rng, chosen = torch.Generator().manual_seed(self.seed + self.epoch), []
        for members, quota in self.cells:
            drawn = [members[torch.randperm(len(members), generator=rng)] for _ in range(-(-quota // len(members)))]
            chosen.append(torch.cat(drawn)[:quota])
        order = torch.cat(chosen)[torch.randperm(self.drawn, generator=rng)]
        return iter(order.repeat(2)[self.rank :: self.num_replicas][: self.num_samples].tolist())


def make_batches(crops: Crops, config: TrainConfig, batch: int, *, shuffle: bool) -> Loader:
    """Make a loader of images uint8 (B, size, size, 3) and targets int64 (B,); processes share out `batch`."""
    dataset, own = _BatchDataset(crops), batch // count_processes()
    if shuffle and config.sampler != "shuffled":
        names = [source_of(row) for row in crops.rows]
        sources = torch.tensor([sorted(set(names)).index(name) for name in names])
        targets = torch.from_numpy(crops.targets)
        chosen = sources if config.sampler == "sources" else None
        sampler: DistributedSampler[int] = Balanced(dataset, targets, config.seed, chosen)
    else:
        sampler = DistributedSampler(dataset, count_processes(), rank(), shuffle=shuffle, seed=config.seed)
    count = len(sampler)
    # A small last batch is a noisy step, and one crop alone has no batch norm.
    drop = shuffle and (count >= 4 * own or count % own == 1)
    return DataLoader(dataset, batch_size=own, sampler=sampler, collate_fn=lambda batch: batch, drop_last=drop)
