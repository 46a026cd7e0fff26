"""Several processes that train as one, as torchrun starts them: who leads, and which share of a batch is whose."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, distributed

from fer_pipeline.errors import FerError, UsageError


class Share(NamedTuple):
    """Which part of a whole batch a process holds: crops `start` to `stop` of `total`."""

    start: int
    stop: int
    total: int


def count_processes() -> int:
    """How many processes train together; 1 unless torchrun started them."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_lead() -> bool:
    """Whether this process writes the files."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def take_share(total: int) -> Share:
    """This process's even share of `total` crops."""
    rank, count = (distributed.get_rank(), count_processes()) if distributed.is_initialized() else (0, 1)
    return Share(total * rank // count, total * (rank + 1) // count, total)


def neighbours(values: Tensor) -> Tensor:
    """For each element of (B, ...) the one before it in the whole batch, whose shares the processes hold."""
    if count_processes() == 1:
        return values.roll(1, 0)
    lasts = [torch.empty_like(values[-1:]) for _ in range(count_processes())]
    distributed.all_gather(lasts, values[-1:].contiguous())
    return torch.cat([lasts[distributed.get_rank() - 1], values[:-1]])


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Connect with the other processes torchrun started; whichever fails first says why, and all of them end."""
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
            print(f"fer: {error}", file=sys.stderr)
            raise SystemExit(error.exit_code) from None
        raise
    finally:
        distributed.destroy_process_group()


def check_alone(work: str) -> None:
    """Raises UsageError where torchrun has started several processes for work that one does."""
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
    """Whether no other process has failed before; what fails next fails for the lack of this one."""
    try:
        return distributed.distributed_c10d._get_default_store().add("fer/failed", 1) == 1
    except RuntimeError:  # the lead, which keeps the count, is gone
        return False


@contextmanager
def in_turn() -> Iterator[None]:
    """The lead goes first, the others when it is through, or not at all."""
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
    """Hold a context in the lead alone, as a lock; the others wait until it is entered."""
    with ExitStack() as stack:
        with in_turn():
            if is_lead():
                stack.enter_context(context)
        yield


def _announce(*, through: bool) -> bool:
    """What the lead says, in every process."""
    if count_processes() == 1:
        return through
    said = [through]
    distributed.broadcast_object_list(said, src=0)
    return said[0]
