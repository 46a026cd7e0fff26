"""Training in several processes, as torchrun starts them: who writes the files, and how all end when one fails.

The lead process (rank 0) writes. Lightning's DDP averages the gradients.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import distributed

from fer_pipeline.console import visible
from fer_pipeline.errors import FerError, UsageError


def count_processes() -> int:
    """Count the processes that train together; 1 unless torchrun started them."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among those that train together, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_lead() -> bool:
    """Whether this process writes the files."""
    return rank() == 0


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
