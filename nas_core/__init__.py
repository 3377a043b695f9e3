"""evernas's search library: spaces, strategies, estimators and the ledger, with no engine behind them.

The names below are what a plugin needs. They load no torch: a space imports it where it builds. A search in one call is
`nas_core.searching.search`.
"""

from nas_core.errors import InputError
from nas_core.interfaces import (
    BatchEstimator,
    Bounded,
    Cost,
    Estimator,
    Gates,
    Relaxable,
    SearchSpace,
    Session,
    State,
    Stopper,
    Strategy,
    Structured,
    SupernetTraining,
    Task,
    Trainer,
)
from nas_core.types import (
    Architecture,
    Budget,
    Decision,
    Failure,
    Live,
    Metrics,
    Objective,
    Port,
    Proposal,
    Signature,
    Status,
    Trial,
)

__all__ = [
    "Architecture",
    "BatchEstimator",
    "Bounded",
    "Budget",
    "Cost",
    "Decision",
    "Estimator",
    "Failure",
    "Gates",
    "InputError",
    "Live",
    "Metrics",
    "Objective",
    "Port",
    "Proposal",
    "Relaxable",
    "SearchSpace",
    "Session",
    "Signature",
    "State",
    "Status",
    "Stopper",
    "Strategy",
    "Structured",
    "SupernetTraining",
    "Task",
    "Trainer",
    "Trial",
]
