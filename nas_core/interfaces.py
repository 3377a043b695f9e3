"""The contracts between the parts of a search. Spaces, strategies and estimators know each other only through these.

Factories, as the registry names them:
    space        factory(signature, **options) -> SearchSpace
    strategy     factory(space, objectives, seed, **options) -> Strategy
    estimator    factory(space, task, seed, **options) -> Estimator
    cost         factory(space, task, **options) -> Cost
    stopper      factory(objectives, **options) -> Stopper
    supernet     factory(space, task, seed, **options) -> SupernetTraining
    task         factory(signature, splits) -> Task
Options are keyword-only parameters with a type and a default; they are what a spec may set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from nas_core.types import Architecture, Budget, Decision, Failure, Live, Metrics, Proposal, Signature, Spent, Trial

if TYPE_CHECKING:  # the contracts load no torch
    import numpy as np
    from torch import Tensor, nn


class SearchSpace(Protocol):
    """A list of decisions, and the network that a choice of options means."""

    @property
    def decisions(self) -> tuple[Decision, ...]: ...

    def build(self, architecture: Architecture) -> nn.Module:
        """Return a fresh network; `forward(*inputs)` gives one tensor, or a tuple with one per output."""
        ...


@runtime_checkable
class Structured(SearchSpace, Protocol):
    """A space that knows which architectures compute one function."""

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the representative of all twins of `architecture`; idempotent."""
        ...

    def features(self, architecture: Architecture) -> Mapping[str, float]:
        """Return figures of the structure (depth, live paths ...): always the same names, equal for twins."""
        ...


@runtime_checkable
class Bounded(SearchSpace, Protocol):
    """A space with limits that no list of decisions can say, such as a number of parameters."""

    def admits(self, architecture: Architecture) -> bool:
        """Tell whether `architecture` keeps the limits.

        Option 0 of every decision is its least demanding: what is not admitted is not admitted either after any of its
        zeros was replaced. The architecture of zeros is admitted.
        """
        ...


class Gates(NamedTuple):
    """Which options of a supernet are computed, and by how much each counts.

    `live` are integers of the host: nothing else is computed, and no device is waited for. `weight` holds per slot a
    tensor (options,), of which the live ones count; None: 1 each.
    """

    live: Live
    weight: tuple[Tensor | None, ...]


@runtime_checkable
class Relaxable(SearchSpace, Protocol):
    """A space whose networks can share their weights: all that weight sharing needs of it.

    Its supernet is a module `forward(*inputs, gates=Gates)`. A gate of one live option per slot and no weights is a
    path: it gives what the stand-alone network gives with the same weights, in train mode and in eval mode. Several
    live options with weights are a mixture: the weighted sum of operations and of depths, a weighted mask of channels
    for widths, a weighted kernel for kernels.
    """

    @property
    def slots(self) -> tuple[int, ...]:
        """The number of options of each slot: the decisions', unless a relaxation has others."""
        ...

    def supernet(self, live: Live | None = None) -> nn.Module:
        """Return a fresh network that holds the options `live`, by default all; InputError for what is no live."""
        ...

    def path(self, architecture: Architecture) -> Live:
        """Return the live options that `architecture` is: `build(a)` is `supernet(path(a))`, called without gates."""
        ...

    def derive(self, scores: Sequence[Sequence[float]]) -> Architecture:
        """Return the architecture of the best scores, given per slot (options,); `derive(one-hot of path(a)) == a`."""
        ...

    def extract(self, supernet: nn.Module, live: Live) -> dict[str, Tensor]:
        """Return the state of `supernet(live)`, with the weights that `supernet`, which holds it all, has now."""
        ...


@runtime_checkable
class Scalable(SearchSpace, Protocol):
    """A space whose networks can be made narrower, all in the same way."""

    def scaled(self, share: float) -> SearchSpace:
        """Return a space of the same decisions whose networks have about `share`, in (0, 1], of the channels."""
        ...


class Strategy(Protocol):
    """Decides what to evaluate next, from the history alone."""

    def propose(self, history: Sequence[Trial], n: int) -> Sequence[Proposal]:
        """Return up to `n` proposals; pure in (seed, history).

        No two proposals, and no proposal and a trial of this study, share canonical identity and fidelity; what an
        earlier cycle tried may be tried again, it met other data. Fewer than `n` come only when fewer unseen remain or
        the strategy waits for pending trials; none means wait while trials are pending, and exhausted otherwise.
        The generator is `numpy.random.default_rng((seed, len(history)))`.
        """
        ...


class Stopper(Protocol):
    """Ends a trial early; one object for every runner."""

    def stop(self, history: Sequence[Trial], number: int) -> bool:
        """Tell whether trial `number` shall stop after its newest report; pure in the history.

        Asked after each report, with the report in the trial's curve; the history holds pending and prior trials too.
        """
        ...


class Session(Protocol):
    """What an evaluation may ask of the runner it runs under."""

    @property
    def device(self) -> str:
        """The torch device to compute on."""
        ...

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        """Record `metrics` at `step`; `save` writes a checkpoint into the folder it is given. True: stop now."""
        ...

    def restore(self, number: int | None = None) -> Path | None:
        """Return the newest checkpoint of this trial, or of trial `number`; None where there is none."""
        ...


class Estimator(Protocol):
    """Measures one architecture; what costs enough to be worth a process of its own."""

    def estimate(self, trial: Trial, session: Session) -> Metrics:
        """Return finite metrics; raise what happens, the runner turns it into a `Failure`."""
        ...


@runtime_checkable
class Trainer(Estimator, Protocol):
    """An estimator that trains what it measures, and can hand over the trained network: what retraining needs."""

    def train(
        self, architecture: Architecture, device: str = "cpu", on_epoch: Callable[[int, Metrics], None] | None = None
    ) -> tuple[nn.Module, Metrics]:
        """Train at full fidelity; return the network in eval mode and its validation metrics.

        `on_epoch` is called with the number of epochs done and the metrics after them.
        """
        ...


@runtime_checkable
class BatchEstimator(Protocol):
    """Measures many architectures in one cheap call."""

    @property
    def batch(self) -> int:
        """The most trials that one call should get."""
        ...

    def estimate_batch(self, trials: Sequence[Trial]) -> Sequence[Metrics | Failure]: ...


class Cost(Protocol):
    """What an architecture takes of a machine (time, memory, energy), without training it."""

    @property
    def metrics(self) -> Sequence[str]:
        """The names of what `measure` returns."""
        ...

    @property
    def timed(self) -> bool:
        """Whether a clock or a meter decides, so that measuring again gives another figure."""
        ...

    def measure(self, architecture: Architecture) -> Metrics:
        """Return finite figures of the network of `architecture`, which is canonical; weights make no difference.

        `nas_core.failures.InfeasibleError` if it cannot be measured because of what it is.
        """
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """An estimator that knows beforehand what memory it will take."""

    def peak_memory_mb(self, architecture: Architecture) -> float:
        """Return the most that the tensors of its training hold at once, in MB of 10^6 bytes; allocates none of it."""
        ...


class Rung(NamedTuple):
    """Trials up to `fidelity` go to `estimator`, whose type is the lane."""

    fidelity: float
    estimator: Estimator | BatchEstimator


class Task(Protocol):
    """Prepared data as batches, a loss and metrics. Tensors of a batch have the batch as first dimension."""

    @property
    def signature(self) -> Signature: ...

    def rows(self, split: str) -> int:
        """Return how many rows `split` holds; InputError if this task was not given that split."""
        ...

    def batches(
        self, split: str, size: int, order: np.random.Generator | None = None
    ) -> Iterator[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """Yield (inputs, targets) in port order; shuffled by `order`, in stored order without it."""
        ...

    def loss(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> Tensor:
        """Return the mean training loss of a batch, a scalar."""
        ...

    def metrics(self, outputs: tuple[Tensor, ...], targets: tuple[Tensor, ...]) -> dict[str, float]:
        """Return the metrics of all rows at once (`accuracy`, `log_loss` ... per output)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a training of a supernet has to remember: tensors (kept as safetensors) and JSON values."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class SupernetTraining(Protocol):
    """Trains or prunes a supernet: sole owner of its weights, architecture parameters and optimisers.

    Batches and draws come from (seed, step), so nothing random is part of the state: what was interrupted at any step
    and loaded into a fresh object ends with the same bits, on the same machine and versions.
    """

    @property
    def step(self) -> int:
        """How many steps are done."""
        ...

    @property
    def steps(self) -> int:
        """How many steps there are in all."""
        ...

    def advance(self) -> Metrics:
        """Do one step and return what is known of it; FloatingPointError if a loss is not finite."""
        ...

    def state(self) -> State: ...

    def load(self, state: State) -> None:
        """Go on from `state`; InputError if it is that of another space, method or version."""
        ...

    def candidates(self, n: int) -> Sequence[Architecture]:
        """Return up to `n` architectures, best first; none where the method ranks nothing."""
        ...


@runtime_checkable
class Divisible(Task, Protocol):
    """A task that can do with a part of its training rows."""

    def sample(self, share: float, seed: int) -> Task:
        """Return the task with `share`, in (0, 1], of the rows of `train`, drawn by `seed`; the others are as they are.

        Each class keeps its share of the rows, and one row at least. Of one seed, a smaller sample is part of a larger.
        """
        ...


@runtime_checkable
class Resizable(Task, Protocol):
    """A task whose inputs have a resolution."""

    def resized(self, share: float) -> Task:
        """Return the task with inputs of `share`, in (0, 1], of their height and width, in all splits."""
        ...


class Study(Protocol):
    """One search, as a fold of its ledger; it alone calls the strategy and the stopper."""

    @property
    def history(self) -> Sequence[Trial]: ...

    @property
    def exhausted(self) -> bool:
        """Whether the strategy has nothing left to propose and nothing is pending."""
        ...

    @property
    def spent(self) -> Spent:
        """What the study has taken so far, earlier processes' share included."""
        ...

    def ask(self, n: int) -> Sequence[Trial]:
        """Return up to `n` trials to run: first what a killed run left pending, then new ones."""
        ...

    def report(self, number: int, step: int, metrics: Metrics) -> bool: ...

    def tell(self, number: int, outcome: Metrics | Failure, cost_seconds: float) -> None: ...

    def tell_all(self, outcomes: Sequence[tuple[int, Metrics | Failure, float]]) -> None:
        """End several trials in one commit, which takes a disk no longer than one."""
        ...

    def retry(self, number: int, fault: Failure, cost_seconds: float, most: int) -> bool:
        """Record that `fault`, of the infrastructure, ended an attempt of trial `number`.

        True: the next `ask` gives it out again. False: that was done `most` times before, and now the fault is its end.
        """
        ...


class Runner(Protocol):
    """Runs a study's trials until the budget is spent or the study is exhausted."""

    def run(self, study: Study, rungs: Sequence[Rung], budget: Budget) -> None: ...
