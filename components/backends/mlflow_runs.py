"""Which runs of a cycle MLflow has, found by their tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.backends.mlflow_records import ADOPTED, ENDED, KIND, PARENT, RUN, TRIAL

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PAGE = 1000


def search(
    client: MlflowClient, experiments: Sequence[str], tags: Mapping[str, str], *, deleted: bool = False
) -> Iterator[Any]:
    """Yield the runs with these tags, the oldest first; with `deleted` also those that MLflow only hides."""
    from mlflow.entities import ViewType

    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    view, token = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY, None
    while True:
        page = client.search_runs(
            list(experiments),
            wanted,
            run_view_type=view,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def every_experiment(client: MlflowClient) -> list[str]:
    """Return the ids of all experiments, deleted ones too: a run may have been adopted from any."""
    from mlflow.entities import ViewType

    found, token = [], None
    while True:
        page = client.search_experiments(view_type=ViewType.ALL, max_results=_PAGE, page_token=token)
        found += [str(experiment.experiment_id) for experiment in page]
        token = page.token
        if not token:
            return found


def place(client: MlflowClient, experiment: str | None, name: str, run: str) -> tuple[str, str] | None:
    """Return the ids of experiment and run of the cycle `run`, None if there is no such run.

    It is in the experiment with the id `experiment`, or wherever somebody else made it for the experiment `name`. Of
    several, because the answer to the creation of one was lost, that stays which has children, or the oldest.
    """
    ours = {RUN: run, KIND: "cycle"}
    found = list(search(client, [experiment], ours)) if experiment else []
    found = found or list(search(client, every_experiment(client), {**ours, ADOPTED: name}))
    if not found:
        return None
    stays = found[0].info
    for other in found[1:]:
        goes = other.info
        if next(search(client, [goes.experiment_id], {RUN: run, PARENT: goes.run_id}), None):
            stays, goes = goes, stays
        client.delete_run(goes.run_id)
    return str(stays.experiment_id), str(stays.run_id)


class Children:
    """The candidates of a cycle that have a run: those found at first, and since then those that were made here."""

    def __init__(self, client: MlflowClient, experiment: str, run: str) -> None:
        self._client, self._experiment = client, experiment
        self._tags = {RUN: run, KIND: "candidate"}
        self._begun: dict[int, str] = {}
        self._whole: set[int] = set()
        self._doubtful: set[int] = set()
        self._take({})

    def known(self) -> dict[int, bool]:
        """Return by its number whether each candidate is whole; those that have no run are not in it."""
        return dict.fromkeys(self._begun, False) | dict.fromkeys(self._whole, True)

    def look(self, number: int) -> tuple[str, bool]:
        """Return the id of the run of candidate `number`, "" if it has none, and whether it is whole."""
        if number in self._doubtful:
            self._take({TRIAL: str(number)})
        return self._begun.get(number, ""), number in self._whole

    def begin(self, number: int) -> None:
        """Say that requests for candidate `number` are sent: until it is whole, MLflow is asked how far they came."""
        self._doubtful.add(number)

    def end(self, number: int) -> None:
        """Say that candidate `number` is whole."""
        self._doubtful.discard(number)
        self._begun.pop(number, None)
        self._whole.add(number)

    def _take(self, more: Mapping[str, str]) -> None:
        """Look up the runs with our tags and `more`; of two for one candidate the whole one stays, then the older."""
        found: dict[int, tuple[str, bool]] = {}
        runs = list(search(self._client, [self._experiment], {**self._tags, **more}))
        for run in sorted(runs, key=lambda run: run.info.status not in ENDED):
            tag = run.data.tags.get(TRIAL, "")
            if not tag.isdecimal():  # somebody's edit; the comparison will name it
                continue
            if int(tag) in found:
                self._client.delete_run(run.info.run_id)
            else:
                found[int(tag)] = str(run.info.run_id), run.info.status in ENDED
        if more:
            self._begun.pop(int(more[TRIAL]), None)
        self._begun.update({number: run_id for number, (run_id, whole) in found.items() if not whole})
        self._whole.update(number for number, (_, whole) in found.items() if whole)
