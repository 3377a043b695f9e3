"""What is cut down at low fidelity, and what a promoted trial goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_core.errors import InputError
from nas_core.estimators.fidelity import Axis, Effort, effort
from nas_core.estimators.training import Training
from nas_core.interfaces import Rung, SearchSpace, Task
from nas_core.ledger import Ledger
from nas_core.runner import LocalRunner
from nas_core.spaces.chain import Chain
from nas_core.spaces.nas_bench_201 import NasBench201
from nas_core.spaces.text_chain import TextChain
from nas_core.store import MemoryStore
from nas_core.strategies.asha import ASHA
from nas_core.strategies.hyperband import Hyperband
from nas_core.study import LedgerStudy
from nas_core.tasks.image import Image
from nas_core.tasks.tabular import Tabular
from nas_core.types import Budget, Objective, Port, Signature, Status, Trial

from .test_training import architecture, weights

AXES: tuple[Axis, ...] = ("epochs", "data", "resolution", "width")
SETS = [axes for n in range(1, 5) for axes in combinations(AXES, n)]
CELL = (3, 1, 2, 1, 3, 4)
EPOCHS = 4


@pytest.fixture(scope="module")
def images() -> Image:
    """Stripes of two directions, 16 x 16."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 120)
    waves = np.sin(np.arange(16) * 0.9)
    stripes = np.where(target[:, None, None, None] == 0, waves[:, None], waves[None, :])
    x = (stripes + rng.normal(size=(120, 1, 16, 16))).astype(np.float32)
    port = Port(name="image", shape=(1, 16, 16))
    signature = Signature(inputs=(port,), outputs=(Port(name="way", shape=(2,), classes=2),))
    return Image(signature, {"train": ((x[:80],), target[:80]), "validation": ((x[80:],), target[80:])})


@pytest.fixture(scope="module")
def cells(images: Image) -> NasBench201:
    return NasBench201(images.signature, channels=4, cells=1)


def training(cells: SearchSpace, images: Task, *axes: Axis, **options: Any) -> Training:
    return Training(cells, images, 0, **{"epochs": EPOCHS, "batch_size": 20, "fidelity": axes, **options})


# ---------------------------------------------------------------- shares


@given(st.sampled_from(SETS), st.floats(0.01, 0.99))
def test_fidelity_is_the_share_of_the_cost(axes: Sequence[Axis], fidelity: float) -> None:
    shares = effort(axes, fidelity)
    assert shares.epochs * shares.data * shares.resolution**2 * shares.width**2 == pytest.approx(fidelity)
    assert all((share < 1) == (axis in axes) for axis, share in shares._asdict().items())


@given(st.sampled_from(SETS))
def test_full_fidelity_is_all_of_everything(axes: Sequence[Axis]) -> None:
    assert effort(axes, 1.0) == Effort(1.0, 1.0, 1.0, 1.0)


@given(st.sampled_from(SETS), st.floats(0.01, 0.98))
def test_a_lower_fidelity_is_within_a_higher_one_and_not_the_other_way(axes: Sequence[Axis], fidelity: float) -> None:
    low, high = effort(axes, fidelity), effort(axes, fidelity + 0.01)
    assert low.within(high)
    assert not high.within(low)
    assert not low.within(low)


# ---------------------------------------------------------------- what is trained


def seen(axes: tuple[Axis, ...], cells: NasBench201, images: Image, monkeypatch: Any, session: Any) -> dict[str, Any]:
    """Return epochs, rows, side and channels that a trial at fidelity 1/4 was really trained with."""
    found: dict[str, Any] = {"rows": 0}
    forward = type(cells.build(CELL)).forward

    def watched(network: Any, image: Any) -> Any:
        if network.training:
            found["rows"] += len(image)
            found.update(side=image.shape[-1], channels=network.stem[0].out_channels)
        return forward(network, image)

    monkeypatch.setattr(type(cells.build(CELL)), "forward", watched)
    training(cells, images, *axes).estimate(Trial(number=0, architecture=CELL, fidelity=0.25), session)
    epochs = len(session.curve)
    return {**found, "epochs": epochs, "rows": found["rows"] // epochs}


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        (("epochs",), {"epochs": 1, "rows": 80, "side": 16, "channels": 4}),
        (("data",), {"epochs": 4, "rows": 20, "side": 16, "channels": 4}),
        (("resolution",), {"epochs": 4, "rows": 80, "side": 8, "channels": 4}),
        (("width",), {"epochs": 4, "rows": 80, "side": 16, "channels": 2}),
        (("epochs", "data"), {"epochs": 2, "rows": 40, "side": 16, "channels": 4}),
    ],
)
def test_each_axis_cuts_down_what_it_names(
    axes: tuple[Axis, ...],
    expected: dict[str, int],
    cells: NasBench201,
    images: Image,
    monkeypatch: pytest.MonkeyPatch,
    recorder: Callable[..., Any],
) -> None:
    found = seen(axes, cells, images, monkeypatch, recorder())
    assert abs(found.pop("rows") - expected["rows"]) <= 1, "each class is rounded up"
    assert found == {name: value for name, value in expected.items() if name != "rows"}


def test_what_a_network_costs_is_that_of_the_full_one(
    cells: NasBench201, images: Image, recorder: Callable[..., Any]
) -> None:
    low, high = (
        training(cells, images, "resolution", "width").estimate(
            Trial(number=number, architecture=CELL, fidelity=fidelity), recorder(number)
        )
        for number, fidelity in enumerate((0.1, 1.0))
    )
    assert (low["params"], low["macs"]) == (high["params"], high["macs"])


def test_the_share_of_rows_holds_at_full_fidelity_and_not_for_the_champion(
    space: Chain, adult: Tabular, recorder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    batches = Tabular.batches

    def watched(task: Tabular, split: str, size: int, order: Any = None) -> Any:
        if order is not None:
            drawn.append(task.rows(split))
        return batches(task, split, size, order)

    monkeypatch.setattr(Tabular, "batches", watched)
    made = Training(space, adult, 0, epochs=1, data=0.1, fidelity=["data"])
    made.estimate(Trial(number=0, architecture=architecture(space)), recorder(0))
    made.estimate(Trial(number=1, architecture=architecture(space), fidelity=0.5), recorder(1))
    made.train(architecture(space))
    assert [round(rows, -1) for rows in drawn] == [240, 120, 2400]


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize("axes", [("data",), ("resolution",), ("width",), ("epochs", "data", "width")], ids="-".join)
def test_a_killed_trial_goes_on_bit_for_bit_on_every_axis(
    cells: NasBench201, images: Image, axes: tuple[Axis, ...], recorder: Callable[..., Any]
) -> None:
    made, trial = training(cells, images, *axes, epochs=6), Trial(number=0, architecture=CELL, fidelity=0.5)
    whole = recorder(5)
    made.estimate(trial, whole)
    with pytest.raises(KeyboardInterrupt):
        made.estimate(trial, recorder(kill_after=2))
    resumed = recorder()
    training(cells, images, *axes, epochs=6).estimate(trial, resumed)
    assert resumed.curve == whole.curve
    assert weights(resumed) == weights(whole)


def promoted(
    cells: NasBench201, images: Image, axes: tuple[Axis, ...], recorder: Callable[..., Any], first: int
) -> tuple[Any, Any, Any]:
    """Return the sessions of a trial, of the one that it is promoted to, and of one like that without a parent."""
    low, high, alone = recorder(first), recorder(first + 1), recorder(first + 2)
    made = training(cells, images, *axes)
    made.estimate(Trial(number=first, architecture=CELL, fidelity=0.25), low)
    made.estimate(Trial(number=first + 1, architecture=CELL, parents=(first,)), high)
    made.estimate(Trial(number=first + 2, architecture=CELL), alone)
    return low, high, alone


def test_with_epochs_among_the_axes_the_course_goes_on(
    cells: NasBench201, images: Image, recorder: Callable[..., Any]
) -> None:
    low, high, alone = promoted(cells, images, ("epochs", "data"), recorder, 0)
    assert high.curve[: len(low.curve)] == low.curve
    assert high.saved[0] == len(low.curve)
    assert len(high.curve) == len(alone.curve) == EPOCHS


@pytest.mark.parametrize("axis", ["data", "resolution"])
def test_without_it_a_promoted_trial_begins_with_its_parents_weights(
    cells: NasBench201, images: Image, recorder: Callable[..., Any], axis: Axis
) -> None:
    _, high, alone = promoted(cells, images, (axis,), recorder, 0)
    assert high.saved == [1, 2, 3, 4], "all epochs are trained"
    assert high.curve != alone.curve
    assert high.curve[0][1]["train_loss"] < alone.curve[0][1]["train_loss"]


@pytest.mark.parametrize("axes", [("width",), ("width", "epochs")])
def test_a_network_of_another_width_is_trained_from_the_start(
    cells: NasBench201, images: Image, recorder: Callable[..., Any], axes: tuple[Axis, ...]
) -> None:
    _, high, alone = promoted(cells, images, axes, recorder, 0)
    assert high.curve == alone.curve
    assert weights(high) == weights(alone)


def test_a_trial_at_more_effort_is_no_parent(cells: NasBench201, images: Image, recorder: Callable[..., Any]) -> None:
    made = training(cells, images, "data")
    fresh = made.estimate(Trial(number=2, architecture=CELL, fidelity=0.5), recorder(2))
    made.estimate(Trial(number=0, architecture=CELL), recorder(0))
    child = Trial(number=1, architecture=CELL, fidelity=0.5, parents=(0,))
    assert made.estimate(child, recorder(1)) == fresh


def test_a_killed_promoted_trial_goes_on_bit_for_bit(
    cells: NasBench201, images: Image, recorder: Callable[..., Any]
) -> None:
    made = training(cells, images, "data")
    made.estimate(Trial(number=0, architecture=CELL, fidelity=0.25), recorder(0))
    curves = []
    for number, kill in ((1, 0), (2, 2)):
        child = Trial(number=number, architecture=CELL, parents=(0,))
        if kill:
            with pytest.raises(KeyboardInterrupt):
                made.estimate(child, recorder(number, kill_after=kill))
        session = recorder(number)
        made.estimate(child, session)
        curves.append(session.curve)
    assert curves[0] == curves[1]


@pytest.mark.parametrize("strategy", [ASHA, Hyperband])
@pytest.mark.parametrize("axes", [("data",), ("resolution", "width")], ids="-".join)
def test_strategies_with_rungs_search_along_any_axis(
    cells: NasBench201, images: Image, axes: tuple[Axis, ...], strategy: Any, tmp_path: Path
) -> None:
    objectives = (Objective(metric="accuracy", goal="max"),)
    study = LedgerStudy(
        Ledger(MemoryStore()), cells, objectives, strategy(cells, objectives, 0, eta=2, min_fidelity=0.25)
    )
    estimator = training(cells, images, *axes, epochs=1)
    LocalRunner(tmp_path).run(study, [Rung(1.0, estimator)], Budget(trials=9))
    assert {trial.status for trial in study.history} == {Status.OK}
    assert {trial.fidelity for trial in study.history} >= {0.25, 0.5}


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fidelity": []}, "fidelity: must name one or more of epochs, data, resolution, width, got none"),
        ({"fidelity": ["data", "data"]}, "fidelity: must not name an axis twice, got data again"),
        ({"fidelity": ["resolution"]}, "fidelity: resolution is of images, and the task is Tabular"),
        ({"data": 0.0}, "data: must be > 0 and <= 1, got 0.0"),
        ({"data": 1.5}, "data: must be > 0 and <= 1, got 1.5"),
        ({"samples": 0}, "samples: must be >= 1, got 0"),
    ],
)
def test_what_cannot_be_is_named(space: Chain, adult: Tabular, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Training(space, adult, 0, **options)


def test_a_space_of_one_width_is_named(adult: Tabular) -> None:
    port = Port(name="text", shape=(6,), dtype="int64", classes=9)
    texts = TextChain(Signature(inputs=(port,), outputs=adult.signature.outputs))
    with pytest.raises(InputError, match=r"fidelity: width needs a space whose networks .*, and TextChain has no such"):
        Training(texts, adult, 0, fidelity=["width"])


class Whole:
    """A task of which no part can be taken."""

    signature = Signature(inputs=(Port(name="x", shape=(2,)),), outputs=(Port(name="y", shape=(2,), classes=2),))


@pytest.mark.parametrize(("options", "name"), [({"data": 0.5}, "data"), ({"fidelity": ["data"]}, "fidelity")])
def test_a_task_that_cannot_be_sampled_is_named(space: Chain, options: dict[str, Any], name: str) -> None:
    whole: Any = Whole()
    with pytest.raises(InputError, match=f"{name}: needs a task of which a sample can be drawn, and Whole has none"):
        Training(space, whole, 0, **options)
