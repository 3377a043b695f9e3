"""The user's YAML as typed, strict, frozen models. A location in an error is a path into the file."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """No unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# ---------------------------------------------------------------- data


class BuiltinSource(Strict):
    """Data that evernas or scikit-learn ships: `adult`, `breast-cancer`, `digits`."""

    kind: Literal["builtin"]
    name: str


class FileSource(Strict):
    """A table in a file; the format is `kind`. A relative path is looked up beside the spec."""

    kind: Literal["csv", "parquet", "npz"]
    path: str


Source = Annotated[BuiltinSource | FileSource, Field(discriminator="kind")]


class Holdout(Strict):
    """Rows set aside as test by the source itself: those where `column` equals `value`. The column is dropped."""

    column: str
    value: str


class Split(Strict):
    """Shares of the rows; what is left is for training. `test` may be a share, or the source's own test rows.

    Stratified by the target, and seeded by the spec's `seed`. The other shares are of the rows that are not test.
    """

    validation: Share = 0.15
    audit: Share = 0.15
    test: Share | Holdout = 0.15

    @model_validator(mode="after")
    def _leaves_rows_for_training(self) -> Split:
        taken = self.validation + self.audit + (self.test if isinstance(self.test, float) else 0.0)
        if taken >= 1:
            raise ValueError(
                f"validation, audit and test take {taken:.2f} of the rows; lower them to less than 1 together"
            )
        return self


class TaskSpec(Strict):
    """What is to be learned: a table, its target column, and the columns that a fairness audit looks at."""

    kind: Literal["tabular"]
    source: Source
    target: str
    positive: str | None = None
    """The favourable class for the fairness audit; default: the rarer of two classes."""
    drop: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    """Columns for the audit only or also for the model; to keep one from the model, list it in `drop` too."""
    split: Split = Split()


# ---------------------------------------------------------------- search


class Part(BaseModel):
    """A registered part by its `kind`; the other keys are its options, checked against its factory's signature."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    kind: str

    @property
    def options(self) -> dict[str, Any]:
        """The options as the spec gives them."""
        return dict(self.model_extra or {})


class ObjectiveSpec(Strict):
    """A metric that the estimator returns, the direction that is better, and a bound that must hold."""

    metric: str
    goal: Literal["min", "max"]
    limit: float | None = None


class BudgetSpec(Strict):
    """Where the search stops."""

    trials: Positive | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> BudgetSpec:
        if self.trials is None and self.seconds is None:
            raise ValueError("set trials, seconds or both, or the search would never end")
        return self


class LocalRunnerSpec(Strict):
    """Trials one after another in the stage's own process."""

    kind: Literal["local"]


class RayRunnerSpec(Strict):
    """Trials as Ray Tune trials. `address: local` starts a Ray of its own; `auto` joins the cluster it runs on."""

    kind: Literal["ray"]
    address: str = "local"
    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    max_concurrent: Positive | None = None
    """Trials at a time; default: as many as the resources allow."""


RunnerSpec = Annotated[LocalRunnerSpec | RayRunnerSpec, Field(discriminator="kind")]


class SearchSpec(Strict):
    """Which architectures, proposed how, judged how, towards what, until when, and where."""

    space: Part
    strategy: Part = Part(kind="regularized-evolution")
    estimator: Part = Part(kind="training")
    objectives: Annotated[tuple[ObjectiveSpec, ...], Field(min_length=1)]
    budget: BudgetSpec
    runner: RunnerSpec = RayRunnerSpec(kind="ray")


# ---------------------------------------------------------------- after the search


class RetrainSpec(Strict):
    """The champion's architecture, trained from scratch with several seeds; the best on validation is deployed."""

    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    options: dict[str, Any] = {}
    """Options of the search's estimator to change for the final training, such as `epochs`."""


class Bins(Strict):
    """A numeric column cut into groups at `edges`: [25, 40] makes `< 25`, `25 to 40` and `>= 40`."""

    column: str
    edges: Annotated[tuple[float, ...], Field(min_length=1)]

    @field_validator("edges")
    @classmethod
    def _rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(value)):
            raise ValueError(f"edges must rise, got {list(value)}")
        return value


class FairnessSpec(Strict):
    """How the audit judges. Verdicts per attribute: pass, fail, or inconclusive when the interval spans the limit."""

    metric: Literal["demographic_parity", "equalized_odds", "accuracy"] = "equalized_odds"
    max_difference: Share = 0.1
    """The largest difference between two groups that passes."""
    confidence: Share = 0.95
    min_group: Positive = 100
    """Groups with fewer rows, or fewer rows of a class that the metric needs, are shown but not judged."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    bins: tuple[Bins, ...] = ()
    intersections: bool = True
    action: Literal["report", "block"] = "report"
    """What a failed audit does: it is written down, or it stops the challenger."""


class DeploySpec(Strict):
    """What a challenger has to show before it becomes the champion."""

    max_parity_error: Annotated[float, Field(gt=0)] = 1e-4
    """Largest absolute difference between the torch model's and the exported model's probabilities, on real rows."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    min_metric: float | None = None
    """Least test value of the first objective's metric."""
    confidence: Share = 0.95
    """How sure it must be that the challenger is better than the champion (paired bootstrap on the test rows)."""


class DriftSpec(Strict):
    """When the data counts as drifted: at least one column significant after Holm's correction, with an effect."""

    source: Source | None = None
    """The current data; default: the task's own source, read anew."""
    alpha: Share = 0.05
    min_effect: Share = 0.1
    """Kolmogorov-Smirnov distance of a numeric column, Cramér's V of a categorical one."""
    min_rows: Positive = 200


class TrackingSpec(Strict):
    """MLflow. Without a `uri` it is a SQLite file in the storage's root."""

    kind: Literal["mlflow"] = "mlflow"
    uri: str | None = None


class Spec(Strict):
    """A whole pipeline: one file, one command."""

    name: Name
    """Names the deployment; its champion is replaced by the next cycle's."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    task: TaskSpec
    search: SearchSpec
    retrain: RetrainSpec = RetrainSpec()
    fairness: FairnessSpec = FairnessSpec()
    deploy: DeploySpec = DeploySpec()
    drift: DriftSpec = DriftSpec()
    tracking: TrackingSpec = TrackingSpec()
