"""What is done about attempts that Ray ended: which fault it was, and whether and where the trial runs again."""

from __future__ import annotations

from collections import defaultdict

from components.backends.ray_places import Places
from nas_core.errors import OutsideError
from nas_core.failures import failure
from nas_core.interfaces import Study
from nas_core.types import Failure, Status

LEAST_LOST = 5

_OUT_OF_MEMORY = "node running low on memory"
_NODE_GONE = (
    "its node has died",  # an actor on a machine that Ray has given up
    "node was terminated",
    "is unavailable",  # the machine does not answer, and Ray has not given it up yet
    "died because its node",
    "node has died",
    "on a dead node",
)


def fault(told: str) -> Failure:
    """Return the fault that Ray's words mean: `oom`, `node`, or `worker` if they tell nothing else.

    Ray kills a worker when its machine runs low on memory; whether that worker, or a neighbour, was at fault, the
    words do not tell.
    """
    if _OUT_OF_MEMORY in told:
        return failure(Status.INFEASIBLE, "oom", told.partition(". Memory on the node")[0])
    code = "node" if any(words in told for words in _NODE_GONE) else "worker"
    return failure(Status.LOST, code, told or "it ended without an outcome")


class Faults:
    """Tells the study of attempts that ended without an outcome.

    A trial runs again up to `retries` times, on machines where it was not lost yet if there are such. After its worker
    was killed for want of memory it runs again once only, on another machine or else with no trial beside it: the
    second time it is infeasible. OutsideError when more trials in a row are lost than ran at a time, and at least
    five: then it is not a machine that broke, but all do.
    """

    def __init__(self, study: Study, retries: int, places: Places) -> None:
        self._study, self._retries, self._places = study, retries, places
        self._nodes: defaultdict[int, set[str]] = defaultdict(set)
        self._starved: set[int] = set()
        self._lost = 0

    def lost(self, number: int, told: str, seconds: float, node: str | None = None) -> None:
        """Tell that an attempt of trial `number` ended after `seconds` on `node`, of which Ray `told`."""
        what, most = fault(told), self._retries
        if what.status is Status.INFEASIBLE:
            most = 0 if number in self._starved else most
            self._starved.add(number)
        if node:
            self._nodes[number].add(node)
        if what.reason.startswith("node"):
            self._places.look()
        if not self._study.retry(number, what, seconds, most):
            self.ended(number)

    def ended(self, number: int) -> None:
        """Count the end of trial `number`, which the study knows already."""
        trial = self._study.history[number]
        self._lost = self._lost + 1 if trial.status is Status.LOST else 0
        if self._lost >= max(LEAST_LOST, self._places.now + 1):
            raise OutsideError(
                f"Ray: {self._lost} trials in a row were lost, the last one with {trial.error!r}; "
                "look whether the workers have this version of evernas, its packages and the run's folder"
            )

    def avoided(self, number: int) -> set[str]:
        """Return the machines where trial `number` shall not run again; none if it fits nowhere else."""
        nodes = self._nodes.get(number, set())
        return nodes if nodes and self._places.fitting(nodes) else set()

    def alone(self, number: int) -> bool:
        """Tell whether trial `number` has to have the cluster to itself."""
        return number in self._starved and not self.avoided(number)
