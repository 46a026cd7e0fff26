"""Training in several processes, as torchrun starts them, with the result of one.

The lead process (rank 0) writes the files. Each process holds a share of every batch; batch norm and dropout see the
whole one: torch's own SyncBatchNorm is for GPUs alone, and its dropout draws another mask in every process.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from fer_pipeline.console import visible
from fer_pipeline.errors import FerError, UsageError


class Share(NamedTuple):
    """Which part of a whole batch a process holds: crops `start` to `stop` of `total`."""

    start: int
    stop: int
    total: int


def count_processes() -> int:
    """Count the processes that train together; 1 unless torchrun started them."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_lead() -> bool:
    """Whether this process writes the files."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def take_share(total: int) -> Share:
    """Return this process's even share of `total` crops."""
    rank, count = (distributed.get_rank(), count_processes()) if distributed.is_initialized() else (0, 1)
    return Share(total * rank // count, total * (rank + 1) // count, total)


def previous_in_batch(values: Tensor) -> Tensor:
    """Return for each element of (B, ...) the one before it in the whole batch, across processes."""
    if count_processes() == 1:
        return values.roll(1, 0)
    lasts = [torch.empty_like(values[-1:]) for _ in range(count_processes())]
    distributed.all_gather(lasts, values[-1:].contiguous())
    return torch.cat([lasts[distributed.get_rank() - 1], values[:-1]])


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Connect with the other processes torchrun started; the first that fails says why, and all of them end."""
    if not _is_one_of_many():
        yield
        return
    _check_devices(device, int(os.environ["LOCAL_WORLD_SIZE"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if computes_on_gpu(device) else "gloo")
    try:
        yield
        distributed.barrier()  # the lead may still be writing
    except (Exception, KeyboardInterrupt) as error:
        if not _is_first_to_fail():
            raise SystemExit(1) from None
        if isinstance(error, FerError):
            print(visible(f"fer: {error}"), file=sys.stderr)
            raise SystemExit(error.exit_code) from None
        raise
    finally:
        distributed.destroy_process_group()


def check_single_process(work: str) -> None:
    """Raise UsageError where torchrun has started several processes for work that one does."""
    if _is_one_of_many():
        raise UsageError(f"{work} is the work of one process: start the command without torchrun")


def _is_one_of_many() -> bool:
    return distributed.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def computes_on_gpu(device: str) -> bool:
    """Whether processes that train together do so on CUDA."""
    return device in {"auto", "cuda"} and torch.cuda.is_available()


def _check_devices(device: str, processes: int) -> None:
    if computes_on_gpu(device) and torch.cuda.device_count() < processes:
        lack = f"{processes} processes, and {torch.cuda.device_count()} GPUs"
        raise UsageError(f"train.device: {lack}: start fewer by --nproc-per-node, or set it to cpu")


def _is_first_to_fail() -> bool:
    """Whether no other process has failed before: what fails later fails because this one is gone."""
    try:
        return distributed.distributed_c10d._get_default_store().add("fer/failed", 1) == 1
    except RuntimeError:  # the lead, which keeps the count, is gone
        return False


@contextmanager
def in_turn() -> Iterator[None]:
    """Let the lead go first, and the others once it is done; they exit if it fails."""
    if is_lead():
        try:
            yield
        except BaseException:
            _announce(through=False)
            raise
        _announce(through=True)
    elif _announce(through=False):
        yield
    else:
        raise SystemExit(1)


@contextmanager
def led(context: AbstractContextManager[object]) -> Iterator[None]:
    """Enter a context in the lead alone, such as a lock; the others wait until it is entered."""
    with ExitStack() as stack:
        with in_turn():
            if is_lead():
                stack.enter_context(context)
        yield


def _announce(*, through: bool) -> bool:
    """Send what the lead says to every process."""
    if count_processes() == 1:
        return through
    said = [through]
    distributed.broadcast_object_list(said, src=0)
    return said[0]


class SharedBatchNorm(_BatchNorm):
    """Batch norm of (B, C, ...) by the mean and variance over all processes."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            statistics = (self.running_mean, self.running_var)
            return functional.batch_norm(features, *statistics, self.weight, self.bias, eps=self.eps)
        dims = [0, *range(2, features.ndim)]
        shape = [1, -1, *[1] * (features.ndim - 2)]
        values = features.float()
        count: Tensor = _AddUp.apply(values.new_tensor(values.numel() / values.shape[1]))
        mean = _AddUp.apply(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = _AddUp.apply(centred.square().sum(dims)) / count
        self._update(mean.detach(), (variance * count / (count - 1)).detach())
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        scaled: Tensor = normalised * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(features.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, which prediction uses."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(new, momentum)


class SharedDropout(nn.Dropout):
    """Dropout by this process's part of the mask that a single process would draw for the whole batch."""

    share = Share(0, 0, 0)

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or not self.p:
            return super().forward(features)
        whole = features.new_ones((self.share.total, *features.shape[1:]))
        if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
            whole = whole.contiguous(memory_format=torch.channels_last)  # masks are drawn in the order of the memory
        mask = functional.dropout(whole, self.p)
        return features * mask[self.share.start : self.share.stop]


class _AddUp(torch.autograd.Function):
    """Sum over all processes; the gradient is summed as well."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _AddUp.apply(gradients[0])  # type: ignore[no-any-return]


def share_layers(network: nn.Module) -> None:
    """Replace torch's batch norm and dropout by the shared ones, weights kept, where several processes train."""
    if count_processes() == 1:
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _share_norm(child))
            elif isinstance(child, nn.Dropout):
                setattr(parent, name, SharedDropout(child.p))


def _share_norm(norm: _BatchNorm) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum)
    shared.load_state_dict(norm.state_dict())
    for own, given in zip(shared.parameters(), norm.parameters(), strict=True):
        own.requires_grad_(given.requires_grad)
    return shared.train(norm.training)


def set_share(network: nn.Module, share: Share) -> None:
    """Set the share of the batch that comes next, for dropout."""
    for layer in network.modules():
        if isinstance(layer, SharedDropout):
            layer.share = share
