from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from nas_core.deadline import held_off, within


def loop() -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sum(range(100))
    raise AssertionError("nothing has ended it")


def stubborn() -> None:
    """An estimator that takes every exception for its own."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(Exception):
            sum(range(100))
    raise AssertionError("nothing has ended it")


def here(call: Callable[[], None]) -> None:
    call()


def elsewhere(call: Callable[[], None]) -> None:
    """Run `call` in a thread of its own, and raise here what it raises."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


anywhere = pytest.mark.parametrize("somewhere", [here, elsewhere])


unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The exception may come amid a destructor of anything at all: Python says so, and goes on."""


@pytest.fixture
def often() -> Iterator[None]:
    """Let threads take turns after microseconds, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@anywhere
@pytest.mark.parametrize("call", [loop, stubborn, lambda: [time.sleep(0.001) for _ in range(100_000)]])
def test_what_takes_longer_is_ended(somewhere: Callable[..., None], call: Callable[[], object]) -> None:
    with pytest.raises(TimeoutError, match=r"^took more than 0\.05 s$"):
        somewhere(lambda: within(0.05, call))


@anywhere
def test_what_returns_in_time_is_returned(somewhere: Callable[..., None]) -> None:
    found: list[int] = []
    somewhere(lambda: found.append(within(60, lambda: 7)))
    somewhere(lambda: found.append(within(None, lambda: 8)))
    assert found == [7, 8]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_raised_in_time_is_raised(error: BaseException) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        within(60, fails)
    assert caught.value is error


def test_what_returns_too_late_counts_as_too_late() -> None:
    """A call that no exception can reach until it is done."""
    with pytest.raises(TimeoutError):
        within(0.01, lambda: time.sleep(0.5))


def test_what_swallows_the_exception_counts_as_too_late() -> None:
    def swallows() -> None:
        try:
            loop()
        except BaseException:  # noqa: BLE001
            return

    with pytest.raises(TimeoutError):
        within(0.02, swallows)


@unraisable
def test_an_exception_that_a_destructor_swallows_is_sent_again() -> None:
    class Slow:
        def __del__(self) -> None:
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                pass

    def call() -> None:
        value: Slow | None = Slow()
        del value
        loop()

    with pytest.raises(TimeoutError):
        within(0.05, call)


def test_one_limit_after_another_and_no_thread_is_left() -> None:
    for _ in range(50):
        assert within(60, lambda: 1) == 1
    watching = [thread for thread in threading.enumerate() if thread.name == "time limit"]
    for thread in watching:
        thread.join(10)
    assert not any(thread.is_alive() for thread in watching)


@unraisable
@pytest.mark.usefixtures("often")
@anywhere
def test_nothing_comes_after_the_call_however_close_the_race(somewhere: Callable[..., None]) -> None:
    """1,000 races a thread: the call's result or a TimeoutError, and then the next lines run undisturbed."""
    rng, found = random.Random(0), Counter[str]()

    def race() -> None:
        work = rng.random() * 2e-4

        def busy() -> str:
            end = time.perf_counter() + work
            while time.perf_counter() < end:
                pass
            return "in time"

        try:
            found[within(rng.random() * 2e-4, busy)] += 1
        except TimeoutError:
            found["too late"] += 1
        sum(range(200))

    def races() -> None:
        for _ in range(1000):
            race()

    somewhere(races)
    assert sum(found.values()) == 1000
    assert min(found["in time"], found["too late"]) > 10, "no race was close"


@anywhere
def test_held_off_the_limit_comes_after_the_block(somewhere: Callable[..., None]) -> None:
    seen: list[str] = []

    def call() -> None:
        with held_off():
            time.sleep(0.5)
            seen.append("whole")
        seen.append("too far")

    with pytest.raises(TimeoutError):
        somewhere(lambda: within(0.01, call))
    assert seen == ["whole"]


def test_held_off_in_time_changes_nothing() -> None:
    def call() -> int:
        for _ in range(3):
            with held_off():
                pass
        return 5

    assert within(60, call) == 5
    with held_off():  # without a limit
        pass
    with pytest.raises(TimeoutError):
        within(0.02, lambda: (call(), loop()))


def test_what_a_block_raises_while_the_limit_is_held_off_goes_before_it() -> None:
    def call() -> None:
        with held_off():
            time.sleep(0.5)
            raise OSError("storage: full")

    with pytest.raises(OSError, match="storage: full"):
        within(0.01, call)


@unraisable
@pytest.mark.usefixtures("often")
@anywhere
def test_no_block_that_holds_it_off_is_ever_cut(somewhere: Callable[..., None]) -> None:
    begun, done = Counter[int](), Counter[int]()

    def call() -> None:
        while True:
            with held_off():
                begun[0] += 1
                sum(range(50))
                done[0] += 1

    def races() -> None:
        rng = random.Random(1)
        for _ in range(300):
            with pytest.raises(TimeoutError):
                within(rng.random() * 1e-3, call)
            assert begun == done

    somewhere(races)
    assert begun[0] > 300
