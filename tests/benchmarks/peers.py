"""Other libraries' searches as players of the same game."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from searches import Player, Problem

from nas_core.errors import OutsideError
from nas_core.types import Architecture, Decision

OPTUNA = ("optuna-tpe", "optuna-gp")
SYNE_TUNE = ("syne-tune-rea", "syne-tune-bore", "syne-tune-cqr")
NAMES = (*OPTUNA, *SYNE_TUNE)

ENVIRONMENT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "evernas-benchmarks" / "syne-tune-0.16"
"""Syne Tune wants other versions than ours, so it has an environment of its own, made on first use."""

REQUIREMENTS = ("syne-tune==0.16.*", "huggingface_hub", "pandas", "scikit-learn", "xgboost")


@contextmanager
def player(name: str, problem: Problem, seed: int) -> Iterator[Player]:
    """Give the peer `name`, at the settings that it comes with."""
    if name in OPTUNA:
        yield OptunaPlayer(name, problem, seed)
        return
    remote = SyneTunePlayer(name.removeprefix("syne-tune-"), problem, seed)
    try:
        yield remote
    finally:
        remote.close()


def obstacle(name: str) -> str:
    """Return why the peer `name` cannot run here, nothing if it can. Makes the environment that it needs."""
    if name in OPTUNA:
        return "" if find_spec("optuna") else "optuna is not installed"
    python = ENVIRONMENT / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS],
    ):
        if _runs([str(python), "-c", "import syne_tune, huggingface_hub, pandas, sklearn, xgboost"]):
            break
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["(it said nothing)"]
            return f"no environment of its own: {' '.join(command)}: {lines[-1]}"
    return ""


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def is_ordered(decision: Decision) -> bool:
    """Tell whether the options are numbers in rising order, which a peer is told as well."""
    values = [row[0] for row in decision.attributes if len(row) == 1]
    return len(values) == len(decision.options) and values == sorted(values)


class OptunaPlayer:
    """Optuna's tree-structured Parzen estimator, or its Gaussian process."""

    def __init__(self, name: str, problem: Problem, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            samplers = optuna.samplers
            sampler = samplers.TPESampler(seed=seed) if name == "optuna-tpe" else samplers.GPSampler(seed=seed)
        directions = optuna.study.StudyDirection
        goal = directions.MAXIMIZE if problem.objective.goal == "max" else directions.MINIMIZE
        self._study = optuna.create_study(sampler=sampler, direction=goal)
        self._metric = problem.objective.metric
        self._decisions = problem.space.decisions
        self._pending: list[Any] = []

    def ask(self, n: int) -> list[Architecture]:
        self._pending = [self._study.ask() for _ in range(n)]
        return [tuple(self._suggest(trial, decision) for decision in self._decisions) for trial in self._pending]

    def _suggest(self, trial: Any, decision: Decision) -> int:
        last = len(decision.options) - 1
        if is_ordered(decision):
            return int(trial.suggest_int(decision.name, 0, last))
        return int(trial.suggest_categorical(decision.name, range(last + 1)))

    def tell(self, outcomes: Sequence[tuple[Architecture, Mapping[str, float]]]) -> None:
        for trial, (_, metrics) in zip(self._pending, outcomes, strict=True):
            self._study.tell(trial, metrics[self._metric])


class SyneTunePlayer:
    """A search of Syne Tune in a process of its own, see `syne_tune_peer.py`."""

    def __init__(self, method: str, problem: Problem, seed: int) -> None:
        command = [str(ENVIRONMENT / "bin" / "python"), str(Path(__file__).with_name("syne_tune_peer.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._metric = problem.objective.metric
        decisions = problem.space.decisions
        self._send(
            method=method,
            seed=seed,
            goal=problem.objective.goal,
            options=[len(decision.options) for decision in decisions],
            ordered=[is_ordered(decision) for decision in decisions],
        )

    def ask(self, n: int) -> list[Architecture]:
        self._send(ask=n)
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise OutsideError("syne-tune: its process ended; see what it wrote above")
        return [tuple(options) for options in json.loads(line)]

    def tell(self, outcomes: Sequence[tuple[Architecture, Mapping[str, float]]]) -> None:
        self._send(tell=[metrics[self._metric] for _, metrics in outcomes])

    def close(self) -> None:
        self._process.communicate()

    def _send(self, **message: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
