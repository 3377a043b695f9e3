"""Runs a cycle's pipeline as a child process, draws its progress, and ends it cleanly when interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from components.progress import Event, read_events
from components.run import Run

GRACE_SECONDS = 20.0
TITLES = {
    "drift": "Drift check",
    "data_prep": "Data preparation",
    "search": "Architecture search",
    "retrain": "Retraining",
    "fairness": "Fairness audit",
    "deploy": "Deployment",
    "report": "Report",
}


class Interrupted(BaseException):
    """A signal asked the command to end; not an Exception, so that nothing on the way swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def run_pipeline(run: Run, console: Console) -> None:
    """Run the pipeline of `run` to its end, drawing on `console`.

    How it went is read from the run's record. Raises `Interrupted` once all processes of an interrupted run have ended.
    """
    view: Bars | Lines = Bars(console) if console.is_terminal else Lines(console)
    with (
        (run.folder / "pipeline.log").open("ab") as log,
        # KFP leaves a folder behind for every step.
        TemporaryDirectory(prefix="evernas-", ignore_cleanup_errors=True) as scratch,
        _signals(),
        view,
    ):
        child = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local", run.uri, run.id],
            env={**os.environ, "TMPDIR": scratch},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _follow(run, child, view)
        except BaseException:
            _end(child)
            raise


def _follow(run: Run, child: subprocess.Popen[bytes], view: Bars | Lines) -> None:
    offset, alive = run.progress.size, True
    while alive:
        alive = child.poll() is None
        events, offset = read_events(run.progress.path, offset)
        for event in events:
            view.show(event)
        if alive:
            time.sleep(0.1)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and everything that it started, first politely."""
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
            break
    deadline = time.monotonic() + GRACE_SECONDS  # its steps may still be putting their affairs in order
    while _group_alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def _signals() -> Iterator[None]:
    """Let the signals that mean `end` raise `Interrupted` in the main thread."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is Python's
        raise Interrupted(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Bars:
    """A bar a stage, for a terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def show(self, event: Event) -> None:
        """Draw what `event` says."""
        if event.stage not in self._tasks:
            title = TITLES.get(event.stage, event.stage)
            self._tasks[event.stage] = self._bars.add_task(title, total=1, text="")
        task, data = self._tasks[event.stage], event.data
        match event.kind:
            case "advance":
                self._bars.update(task, completed=data["done"], total=data["total"], text=data["text"])
            case "note":
                self._bars.console.print(f"  {data['text']}", highlight=False)
            case "end":
                total = next(t.total for t in self._bars.tasks if t.id == task) or 1
                self._bars.update(task, completed=total, total=total)
            case "fail":
                self._bars.update(task, text=f"[red]{data['message'][:100]}")
                self._bars.stop_task(task)


class Lines:
    """Plain lines, for a log: a stage's begin and end, and in between at most one line every few seconds."""

    def __init__(self, console: Console, every: float = 5.0) -> None:
        self._console, self._every, self._last = console, every, 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def show(self, event: Event) -> None:
        """Print what `event` says."""
        title, data = TITLES.get(event.stage, event.stage), event.data
        match event.kind:
            case "begin":
                self._print(f"{title} ...")
            case "advance":
                if event.time - self._last >= self._every:
                    self._last = event.time
                    self._print(f"  {title}: {data['done']}/{data['total'] or '?'} {data['text']}")
            case "note":
                self._print(f"  {data['text']}")
            case "end":
                self._print(f"{title} done in {data['seconds']:.1f} s")
            case "fail":
                self._print(f"{title} failed: {data['message']}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
