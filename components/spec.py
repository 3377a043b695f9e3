"""The user's YAML as typed, strict, frozen models. A location in an error is a path into the file.

What a model alone cannot tell (known kinds and metrics, columns, options of parts) is in `components.spec_rules`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from components.spec_search import (
    BudgetSpec,
    LocalRunnerSpec,
    ObjectiveSpec,
    Part,
    PriceSpec,
    RayRunnerSpec,
    RunnerSpec,
    SearchSpec,
)
from components.spec_task import (
    AudioTask,
    BuiltinSource,
    CommonTask,
    FileSource,
    FolderSource,
    Holdout,
    ImageTask,
    LinesSource,
    NpzSource,
    Source,
    Split,
    TabularTask,
    TaskSpec,
    TextTask,
)
from components.spec_types import Above0, Name, Positive, Share, Strict, Text

__all__ = [  # the models of the task and the search too, so that all of a spec is found here
    "AudioTask",
    "BudgetSpec",
    "BuiltinSource",
    "CommonTask",
    "FileSource",
    "FolderSource",
    "Holdout",
    "ImageTask",
    "LinesSource",
    "LocalRunnerSpec",
    "NpzSource",
    "ObjectiveSpec",
    "Part",
    "PriceSpec",
    "RayRunnerSpec",
    "RunnerSpec",
    "SearchSpec",
    "Source",
    "Split",
    "TabularTask",
    "TaskSpec",
    "TextTask",
]


class RetrainSpec(Strict):
    """The champion's architecture, trained from scratch with several seeds; the best on validation is deployed."""

    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    """How often it is trained; the spread over seeds is reported."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the search's estimator to change for the final training, such as `epochs`."""
    estimator: Part | None = None
    """What trains the champion, by `kind` and options; default: the search's estimator with `options` changed."""
    space: dict[str, Any] = Field(default_factory=dict)
    """Options of the search's space to change for the final networks, such as `cells`; the decisions must stay."""

    @model_validator(mode="after")
    def _has_one_source_of_options(self) -> RetrainSpec:
        if self.estimator is not None and self.options:
            raise ValueError("options change the search's estimator; write them into retrain.estimator instead")
        return self


class Bins(Strict):
    """A numeric column cut into groups at `edges`: [25, 40] makes `< 25`, `25 to 40` and `>= 40`."""

    column: Text
    edges: Annotated[tuple[float, ...], Field(min_length=1)]
    """Where a new group begins; rising."""

    @field_validator("edges")
    @classmethod
    def _rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for before, after in pairwise(value):
            if after <= before:
                raise ValueError(f"must rise, got {after:g} after {before:g}; sort them, and write each once")
        return value


class FairnessSpec(Strict):
    """How the audit judges. Verdicts per attribute: pass, fail, or inconclusive when the interval spans the limit."""

    metric: Literal["demographic_parity", "equalized_odds", "accuracy"] = "equalized_odds"
    max_difference: Share = 0.1
    """The largest difference between two groups that passes."""
    confidence: Share = 0.95
    """Of the bootstrap interval around a difference."""
    min_group: Positive = 100
    """Groups with fewer rows, or less than a quarter as many of a class that counts, are shown but not judged."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Resamples of the audit rows; more are drawn where that many say too little."""
    bins: tuple[Bins, ...] = ()
    """How numeric sensitive columns are cut into groups; default: at their quartiles."""
    intersections: bool = True
    """Whether every two of the sensitive columns, and all together, are judged too."""
    action: Literal["report", "block"] = "report"
    """What a failed audit does: it is written down, or it stops the challenger."""


class DeploySpec(Strict):
    """What a challenger has to show before it becomes the champion."""

    max_parity_error: Above0 = 1e-4
    """Largest absolute difference between the torch model's and the exported model's probabilities, on real rows."""
    max_latency_ms: Above0 | None = None
    """Median milliseconds for one row; default: no limit."""
    max_size_mb: Above0 | None = None
    """Megabytes of the exported file; default: no limit."""
    min_metric: float | None = None
    """What the first objective's metric must be at least on the test rows, or at most if less is better."""
    confidence: Share = 0.95
    """How sure it must be, on the same test rows, that the challenger is better than the champion."""


class DriftSpec(Strict):
    """When the data counts as drifted: at least one column significant after Holm's correction, with an effect."""

    source: Source | None = None
    """The current data; default: the task's own source, read anew."""
    alpha: Share = 0.05
    """Level of the tests, all columns together."""
    min_effect: Share = 0.1
    """Kolmogorov-Smirnov distance of a numeric column, Cramér's V of a categorical one."""
    min_rows: Positive = 200
    """With fewer rows the answer is: insufficient data."""


class TrackingSpec(Strict):
    """Where candidates are tracked."""

    kind: Literal["mlflow"] = "mlflow"
    uri: Text | None = None
    """A tracking server; default: a SQLite file in the storage's root."""


class Spec(Strict):
    """A whole pipeline: one file, one command."""

    name: Name
    """Names the deployment; its champion is replaced by the next cycle's."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """With the local runner, the same seed, data and versions give the same search; on Ray, order has a say as well."""
    task: TaskSpec
    search: SearchSpec
    retrain: RetrainSpec = RetrainSpec()
    fairness: FairnessSpec = FairnessSpec()
    deploy: DeploySpec = DeploySpec()
    drift: DriftSpec = DriftSpec()
    tracking: TrackingSpec = TrackingSpec()
