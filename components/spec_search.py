"""The part of the spec that is the search: which parts, towards what, until when, and where it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from components.spec_types import Above0, NotNegative, Positive, Strict, Text


class Part(Strict):
    """A registered part by its `kind`; the other keys are its options, checked against its factory's signature."""

    model_config = ConfigDict(extra="allow")
    kind: Text

    @property
    def options(self) -> dict[str, Any]:
        """The options as the spec gives them."""
        return dict(self.model_extra or {})


class ObjectiveSpec(Strict):
    """A metric that the estimator returns, the direction that is better, and a bound that must hold."""

    metric: Text
    """`training` returns accuracy, balanced_accuracy, log_loss, auroc (of two classes), losses, params, macs, flops."""
    goal: Literal["min", "max"]
    limit: float | None = None
    """The most (`min`) or the least (`max`) that is allowed; a candidate beyond it is no champion."""


class BudgetSpec(Strict):
    """Where the search stops: at whichever comes first.

    At the cap no trial begins any more; those that run are finished, and the cycle goes on with the best so far. What a
    search took before it was interrupted and resumed counts.
    """

    trials: Positive | None = None
    seconds: Annotated[float, Field(ge=1)] | None = None
    """Wall clock."""
    cpu_hours: Above0 | None = None
    """Hours times CPUs that trials have occupied."""
    gpu_hours: Above0 | None = None
    """Hours times GPUs that trials have occupied."""
    cost: Above0 | None = None
    """Money for what trials have occupied, by the runner's `price`."""

    @model_validator(mode="after")
    def _bounds_something(self) -> BudgetSpec:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("set trials, seconds, cpu_hours, gpu_hours or cost, or the search would never end")
        return self


class PriceSpec(Strict):
    """What an hour of a machine's parts costs, in any one currency."""

    cpu_hour: Annotated[float, Field(ge=0)] = 0.0
    gpu_hour: Annotated[float, Field(ge=0)] = 0.0
    currency: Text = "USD"
    """For people to read."""

    def of(self, cpus: float, gpus: float) -> float:
        """Return the price of an hour of so many CPUs and GPUs."""
        return cpus * self.cpu_hour + gpus * self.gpu_hour


class LocalRunnerSpec(Strict):
    """Trials one after another in the stage's own process."""

    kind: Literal["local"]
    timeout_seconds: Above0 | None = None
    """How long a trial may take; one that takes longer fails, and the search goes on."""
    price: PriceSpec = PriceSpec()

    @property
    def cpus(self) -> float:
        """A trial has the stage's process to itself."""
        return 1.0


class RayRunnerSpec(Strict):
    """Trials as Ray Tune trials; cheap estimates in batches as Ray tasks."""

    kind: Literal["ray"]
    address: Text = "local"
    """`local` starts a Ray of its own; `auto` joins the cluster it runs on."""
    cpus: Above0 = 1.0
    """CPUs a trial."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs a trial; a fraction shares one."""
    memory_mb: Above0 | None = None
    """Memory a trial is placed by; default: memory has no say in where a trial runs."""
    resources: dict[Text, Above0] = Field(default_factory=dict)
    """Other resources a trial, as the cluster's nodes declare them."""
    accelerator_type: Text | None = None
    """The kind of GPU that a trial needs, by Ray's name for it, such as `A100`."""
    max_concurrent: Positive | None = None
    """Trials at a time; default: as many as the resources allow."""
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a trial runs again after its worker or its machine died, on another machine if there is one."""
    timeout_seconds: Above0 | None = None
    """How long a trial may take; one that takes longer fails, and the search goes on."""
    price: PriceSpec = PriceSpec()

    @model_validator(mode="after")
    def _asks_for_a_gpu_to_choose_its_kind(self) -> RayRunnerSpec:
        if self.accelerator_type is not None and not self.gpus:
            raise ValueError("accelerator_type is of GPUs, of which a trial asks for none; set gpus, or remove it")
        return self


class WithinLimits(Strict):
    """The best by the first objective of those that keep all limits."""

    kind: Literal["within-limits"]


class Knee(Strict):
    """The one where gaining a little of one objective begins to cost much of another."""

    kind: Literal["knee"]


class Lexicographic(Strict):
    """The best by the objectives in order, where small differences in an earlier one do not count."""

    kind: Literal["lexicographic"]
    tolerances: dict[Text, NotNegative] = Field(default_factory=dict)
    """How much worse than the best may be, by metric and in its units; default: nothing."""


class Weighted(Strict):
    """The least weighted sum of the objectives, each scaled to [0, 1] on the Pareto front."""

    kind: Literal["weighted"]
    weights: dict[Text, NotNegative]
    """By metric; an objective without a weight has none."""


ChooseSpec = Annotated[WithinLimits | Knee | Lexicographic | Weighted, Field(discriminator="kind")]

RunnerSpec = Annotated[LocalRunnerSpec | RayRunnerSpec, Field(discriminator="kind")]


class SearchSpec(Strict):
    """Which architectures, proposed how, judged how, towards what, until when, and where."""

    space: Part
    """The architectures that are searched, by `kind` and options."""
    strategy: Part = Part(kind="bayesian")
    """What proposes the next architecture, by `kind` and options."""
    stopper: Part | None = None
    """What ends a trial early, by `kind` and options; default: all run to their end."""
    supernet: Part | None = None
    """What is trained before the first trial, for all architectures at once, by `kind` and options."""
    estimator: Part = Part(kind="training")
    """What measures a candidate, by `kind` and options."""
    objectives: Annotated[tuple[ObjectiveSpec, ...], Field(min_length=1)]
    """What is searched for; `choose` says how the champion follows from them."""
    costs: tuple[Part, ...] = ()
    """What candidates take of a machine, each by `kind` and options; their metrics may be objectives."""
    choose: ChooseSpec = WithinLimits(kind="within-limits")
    """Which candidate of the Pareto front is taken."""
    budget: BudgetSpec
    runner: RunnerSpec = RayRunnerSpec(kind="ray")
