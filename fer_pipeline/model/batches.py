"""Batches for training: whole ones, copied at once out of the memory-mapped array."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from fer_pipeline.config import TrainConfig
from fer_pipeline.model.dataset import Crops

Batch = tuple[Tensor, Tensor]
Loader = DataLoader[Batch]


class _Picks(Dataset[Batch]):
    """Hands out whole batches at once: a single copy out of the array, no image by image collation."""

    def __init__(self, crops: Crops) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops.targets)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        images = torch.from_numpy(np.asarray(self.crops.images[indices]))
        return images, torch.from_numpy(self.crops.targets[indices])


def make_batches(crops: Crops, config: TrainConfig, batch: int, *, shuffle: bool) -> Loader:
    """Batches of uint8 (B, size, size, 3) and int64 (B,); Lightning tells the sampler the epoch."""
    sampler: DistributedSampler[Batch] = DistributedSampler(_Picks(crops), 1, 0, shuffle=shuffle, seed=config.seed)
    # A small last batch is a noisy step; it is left out where enough others remain.
    drop = shuffle and len(crops.targets) >= 4 * batch
    return DataLoader(
        sampler.dataset, batch_size=batch, sampler=sampler, collate_fn=lambda batch: batch, drop_last=drop
    )
