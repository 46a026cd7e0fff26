"""The same results in the same order, wherever the work is done."""

import os
import signal
from collections.abc import Iterator

import pytest

from fer_pipeline.errors import SetupError
from fer_pipeline.workers.stage_workers import CHUNK, WorkerCrash, work


def square(number: int) -> int:
    return number * number


def tell_process(_: int) -> int:
    return os.getpid()


def tell_threads(_: int) -> tuple[str | None, int]:
    import cv2

    return os.environ.get("OMP_NUM_THREADS"), cv2.getNumThreads()


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def lack_something(number: int) -> int:
    raise SetupError("no room: make some")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_with_their_items_in_order(workers: int) -> None:
    items = range(5 * CHUNK + 3)
    assert list(work(square, items, workers)) == [(number, number * number) for number in items]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_work_gives_no_results(workers: int) -> None:
    assert list(work(square, [], workers)) == []


def test_one_worker_is_this_process_and_two_are_others() -> None:
    assert {result for _, result in work(tell_process, range(3), 1)} == {os.getpid()}
    others = {result for _, result in work(tell_process, range(3), 2)}
    assert os.getpid() not in others


def test_a_worker_uses_one_thread() -> None:
    assert {result for _, result in work(tell_threads, range(2), 2)} == {("1", 1)}


@pytest.mark.slow
def test_a_death_costs_the_item_that_caused_it() -> None:
    results = dict(work(die_at_three, range(5), 2))
    assert isinstance(results.pop(3), WorkerCrash)
    assert results == {0: 0, 1: 1, 2: 2, 4: 4}
    assert dict(work(square, range(3), 2)) == {0: 0, 1: 1, 2: 4}  # and the next work finds a pool again


def tell_process_but_die_at_thirteen(number: int) -> int:
    return die_at_three(number - 10) and os.getpid()


@pytest.mark.slow
def test_a_death_starts_two_processes_however_much_is_on_its_way() -> None:
    results = dict(work(tell_process_but_die_at_thirteen, range(11, 12 * CHUNK), 2))
    assert [number for number, result in results.items() if isinstance(result, WorkerCrash)] == [13]
    assert len(results) == 12 * CHUNK - 11
    processes = {result for result in results.values() if not isinstance(result, WorkerCrash)}
    assert len(processes) <= 4  # two, one that found the culprit and one that took its place


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_set_up_comes_through(workers: int) -> None:
    with pytest.raises(SetupError, match="no room: make some"):
        list(work(lack_something, range(3), workers))


def test_items_are_not_read_far_ahead() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    results = work(square, items(), 2)
    assert next(results) == (0, 0)
    assert len(read) <= 2 * 4 * CHUNK
