"""evernas's search library: spaces, strategies, estimators and the ledger, with no engine behind them.

The names below are what a plugin needs. They load no torch: a space imports it where it builds.
"""

from nas_core.interfaces import Estimator, SearchSpace, Session, Strategy, Task
from nas_core.types import Architecture, Decision, Failure, Metrics, Objective, Port, Proposal, Signature, Status, Trial

__all__ = [
    "Architecture",
    "Decision",
    "Estimator",
    "Failure",
    "Metrics",
    "Objective",
    "Port",
    "Proposal",
    "SearchSpace",
    "Session",
    "Signature",
    "Status",
    "Strategy",
    "Task",
    "Trial",
]
