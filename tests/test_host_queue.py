"""Which URL is next: no host holds up another's."""

import queue
import random

import pytest

from fer_pipeline.sources.crawl.host_queue import HostQueue, Task


class Hosts:
    """Seconds until each may be asked, and a clock that a test moves."""

    def __init__(self, **delays: float) -> None:
        self.now, self.until = 100.0, {host: 100.0 + delay for host, delay in delays.items()}

    def clock(self) -> float:
        return self.now

    def delay(self, host: str) -> float:
        return max(0.0, self.until.get(host, 0.0) - self.now)


def fill(hosts: Hosts, *urls: str) -> HostQueue:
    waiting = HostQueue(hosts.delay, hosts.clock)
    for url in urls:
        waiting.put(f"http://{url}")
    return waiting


def take(waiting: HostQueue, count: int) -> list[Task]:
    """As many threads as that take one each."""
    return [waiting.get(0) for _ in range(count)]


def names(tasks: list[Task]) -> list[str]:
    return [task.url.removeprefix("http://") for task in tasks]


def test_each_thread_gets_a_host_of_its_own_while_there_are_enough() -> None:
    waiting = fill(Hosts(), "a/1", "a/2", "a/3", "b/1", "c/1")
    assert sorted(names(take(waiting, 3))) == ["a/1", "b/1", "c/1"]
    assert names(take(waiting, 2)) == ["a/2", "a/3"]


def test_of_idle_hosts_the_one_with_most_left_comes_first() -> None:
    waiting, order = fill(Hosts(), "b/1", "a/1", "a/2", "a/3", "c/1"), []
    for _ in range(3):
        task = waiting.get(0)
        order.append(task.url)
        waiting.done(task)
    assert order[:2] == ["http://a/1", "http://a/2"]


def test_a_host_that_never_answers_gets_no_second_thread_while_another_may_be_asked_soon() -> None:
    hosts = Hosts()
    waiting = fill(hosts, *(f"dead/{number}" for number in range(9)), *(f"fast/{number}" for number in range(4)))
    first, *_ = take(waiting, 1)
    assert first.host == "dead"
    for number in range(4):
        hosts.until["fast"] = hosts.now + 0.5  # its pace: it was asked a moment ago
        task = waiting.get(0)
        assert names([task]) == [f"fast/{number}"]
        waiting.done(task)


def test_what_must_wait_is_kept_until_its_time_and_lets_all_others_go_first() -> None:
    hosts = Hosts(**{f"slow{number}": 30.0 for number in range(100)})
    waiting = fill(hosts, *(f"slow{number}/1" for number in range(100)), *(f"ready/{number}" for number in range(50)))
    assert {task.host for task in take(waiting, 50)} == {"ready"}
    with pytest.raises(queue.Empty):
        waiting.get(0)
    hosts.now += 29.5
    assert len(take(waiting, 100)) == 100
    with pytest.raises(queue.Empty):
        waiting.get(0)


def test_a_host_that_asks_for_patience_after_it_was_queued_is_put_off() -> None:
    hosts = Hosts()
    waiting = fill(hosts, "a/1", "a/2", "b/1")
    hosts.until["a"] = hosts.now + 9
    assert names(take(waiting, 1)) == ["b/1"]
    with pytest.raises(queue.Empty):
        waiting.get(0)


def test_what_is_put_back_comes_again_with_its_count() -> None:
    waiting = fill(Hosts(), "a/1")
    task = waiting.get(0)
    waiting.put_back(task._replace(attempts=1))
    waiting.done(task)
    assert waiting.get(0) == Task("http://a/1", "a", 1)


def test_other_spellings_of_a_host_are_that_host() -> None:
    waiting = fill(Hosts(), "a.org/1", "me@A.org:80/2", "a.org./3", "b.org/1")
    assert [task.host for task in take(waiting, 2)] == ["a.org", "b.org"]


def test_no_url_is_lost_or_given_twice_whatever_the_order() -> None:
    chance, hosts = random.Random(0), Hosts()
    urls = [*(f"http://h{number % 70}/{number}" for number in range(500)), "no url", "http://[bad/"]
    waiting, held, got = HostQueue(hosts.delay, hosts.clock), list[Task](), list[str]()
    for url in urls:
        waiting.put(url)
    while len(got) < len(urls) or held:
        hosts.now += 0.3
        try:
            held.append(waiting.get(0))
        except queue.Empty:
            hosts.now += 1
        if held and chance.random() < 0.7:
            task = held.pop(chance.randrange(len(held)))
            hosts.until[task.host] = hosts.now + chance.choice((0, 0.5, 5))
            if chance.random() < 0.3:
                waiting.put_back(task)
            else:
                got.append(task.url)
            waiting.done(task)
    assert sorted(got) == sorted(urls)
