from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor
from torch.nn import functional

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.estimators.training import Training
from nas_core.spaces.multi_task import MultiTask as Space
from nas_core.tasks.multi_task import NOTHING, Arrays, MultiTask
from nas_core.types import Metrics, Port, Signature, Trial

PORTS = Signature(
    inputs=(Port(name="photo", shape=(1, 8, 8)), Port(name="drawing", shape=(2, 8, 9))),
    outputs=(Port(name="animal", shape=(3,), classes=3), Port(name="letter", shape=(5,), classes=5)),
)


def rows(*counts: int, seed: int = 0) -> Arrays:
    """Return random rows, of each task as many as `counts` says; the first number of an image is its own index."""
    rng = np.random.default_rng(seed)
    inputs = [
        rng.normal(size=(n, *port.shape)).astype(np.float32) for n, port in zip(counts, PORTS.inputs, strict=True)
    ]
    for images in inputs:
        images[:, 0, 0, 0] = np.arange(len(images))
    targets = [rng.integers(0, port.classes, n) for n, port in zip(counts, PORTS.outputs, strict=True)]
    return tuple(inputs), tuple(targets)


def joined(batches: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]], task: int) -> tuple[list[int], list[int]]:
    """Return the indices and the classes of a task's rows, in the order of the batches."""
    index = torch.cat([inputs[task][:, 0, 0, 0] for inputs, _ in batches])
    return index.int().tolist(), torch.cat([targets[task] for _, targets in batches]).tolist()


# ---------------------------------------------------------------- batches


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 25))
def test_in_training_a_shorter_task_begins_anew_shuffled_differently(first: int, second: int, size: int) -> None:
    arrays = rows(first, second)
    task = MultiTask(PORTS, {"train": arrays})
    batches = list(task.batches("train", size, np.random.default_rng(0)))
    longest = task.rows("train")
    assert longest == max(first, second)
    sizes = [len(targets[0]) for _, targets in batches]
    assert sum(sizes) == longest
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    for number, count in enumerate((first, second)):
        index, classes = joined(batches, number)
        assert classes == arrays[1][number][index].tolist()
        for start in range(0, longest, count):
            turn = index[start : start + count]
            assert len(set(turn)) == len(turn)
        if count > 20 and longest >= 2 * count:
            assert index[:count] != index[count : 2 * count]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 25))
def test_in_evaluation_every_row_counts_once_in_stored_order(first: int, second: int, size: int) -> None:
    arrays = rows(first, second)
    batches = list(MultiTask(PORTS, {"validation": arrays}).batches("validation", size))
    for number, count in enumerate((first, second)):
        index, classes = joined(batches, number)
        assert index[:count] == list(range(count))
        assert classes[:count] == arrays[1][number].tolist()
        assert set(classes[count:]) <= {NOTHING}
        assert len(classes) == max(first, second)


def test_the_order_comes_from_its_generator_alone() -> None:
    task = MultiTask(PORTS, {"train": rows(40, 30)})
    first, same, other = (joined(list(task.batches("train", 9, np.random.default_rng(seed))), 1) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_a_split_that_was_not_given_does_not_exist() -> None:
    task = MultiTask(PORTS, {"train": rows(4, 3)})
    for call in (lambda: task.rows("test"), lambda: next(task.batches("test", 10))):
        with pytest.raises(InputError, match="split: unknown name 'test', expected one of train"):
            call()


# ---------------------------------------------------------------- loss and metrics


def answers(counts: tuple[int, int], longest: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    logits = tuple(torch.randn(longest, port.classes, generator=generator) for port in PORTS.outputs)
    targets = []
    for port, count in zip(PORTS.outputs, counts, strict=True):
        target = torch.randint(port.classes, (longest,), generator=generator)
        target[count:] = NOTHING
        targets.append(target)
    return logits, tuple(targets)


def test_the_loss_is_the_mean_of_the_tasks_over_their_own_rows() -> None:
    logits, targets = answers((30, 12), 30)
    each = [functional.cross_entropy(logits[0], targets[0]), functional.cross_entropy(logits[1][:12], targets[1][:12])]
    task = MultiTask(PORTS, {})
    torch.testing.assert_close(task.loss(logits, targets), (each[0] + each[1]) / 2)
    weighted = MultiTask(PORTS, {}, weights=(3, 1))
    torch.testing.assert_close(weighted.loss(logits, targets), (3 * each[0] + each[1]) / 4)


def test_a_batch_without_rows_of_a_task_has_a_loss_and_no_gradient_there() -> None:
    logits, targets = answers((30, 0), 30)
    for each in logits:
        each.requires_grad_()
    MultiTask(PORTS, {}).loss(logits, targets).backward()
    assert logits[0].grad is not None
    assert logits[0].grad.isfinite().all()
    assert logits[1].grad is not None
    assert logits[1].grad.abs().sum() == 0


def test_metrics_are_those_of_scikit_learn_and_leave_out_what_fills_up() -> None:
    logits, targets = answers((40, 17), 40)
    found = MultiTask(PORTS, {}).metrics(logits, targets)
    expected: dict[str, float] = {}
    for port, scores, target, count in zip(PORTS.outputs, logits, targets, (40, 17), strict=True):
        probabilities = scores.double().softmax(1).numpy()[:count]
        truth = target.numpy()[:count]
        expected[f"accuracy/{port.name}"] = accuracy_score(truth, probabilities.argmax(1))
        expected[f"log_loss/{port.name}"] = log_loss(truth, probabilities, labels=range(port.classes))
    expected["accuracy"] = (expected["accuracy/animal"] + expected["accuracy/letter"]) / 2
    assert found == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- with the estimator


class Session:
    device = "cpu"

    def __init__(self) -> None:
        self.curve: list[Metrics] = []

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        assert save or step
        self.curve.append(metrics)
        return False

    def restore(self, number: int | None = None) -> Path | None:
        del number


def test_the_training_estimator_learns_both_tasks(data: Path) -> None:
    """Is it a shoe; is it light: both from Fashion-MNIST, with different numbers of rows."""
    with np.load(data / "fashion_mnist_small.npz", allow_pickle=False) as file:
        pixels, kinds = file["x_train"][:900, None, ::2, ::2] / np.float32(255), file["y_train"][:900]
    shoes, light = np.isin(kinds, (5, 7, 9)).astype(np.int64), (pixels.mean((1, 2, 3)) > 0.3).astype(np.int64)
    signature = Signature(
        inputs=(Port(name="one", shape=(1, 14, 14)), Port(name="other", shape=(1, 14, 14))),
        outputs=(Port(name="shoe", shape=(2,), classes=2), Port(name="light", shape=(2,), classes=2)),
    )
    splits = {
        "train": ((pixels[:300], pixels[300:500]), (shoes[:300], light[300:500])),
        "validation": ((pixels[500:600], pixels[600:900]), (shoes[500:600], light[600:900])),
    }
    space = Space(signature, stages=1, depths=(1,), widths=(8,), stem_width=8, head_widths=(8,))
    training = Training(space, MultiTask(signature, splits), 0, epochs=8, batch_size=32, learning_rate=0.01)
    session = Session()
    metrics = training.estimate(Trial(number=0, architecture=(0,) * len(space.decisions)), session)
    assert metrics["accuracy/shoe"] > 0.9
    assert metrics["accuracy/light"] > 0.8
    assert metrics["accuracy"] == pytest.approx((metrics["accuracy/shoe"] + metrics["accuracy/light"]) / 2)
    assert metrics["params"] == space.cost((0,) * len(space.decisions)).params
    assert session.curve[-1]["validation_loss"] < session.curve[0]["validation_loss"]
    assert algebra.describe(space, (0,) * len(space.decisions))["pooling_shoe"] == "mean"


# ---------------------------------------------------------------- data


def test_read_only_arrays_are_taken_without_a_warning_and_left_alone() -> None:
    arrays = rows(5, 5)
    for array in (*arrays[0], *arrays[1]):
        array.flags.writeable = False
    [(inputs, _)] = MultiTask(PORTS, {"train": arrays}).batches("train", 10)
    inputs[0].zero_()
    assert arrays[0][0].any()


def test_it_travels_without_its_tensors() -> None:
    task = MultiTask(PORTS, {"train": rows(6, 5)})
    before = list(task.batches("train", 3))
    small = len(pickle.dumps(MultiTask(PORTS, {"train": rows(6, 5)})))
    assert len(pickle.dumps(task)) == small
    copy: MultiTask = pickle.loads(pickle.dumps(task))  # noqa: S301  what Ray does to send it to a worker
    assert joined(before, 0) == joined(list(copy.batches("train", 3)), 0)


def change(place: str, value: Any) -> Any:
    """Return the arguments of a task with rows (4, 3), one array of which is `value`."""
    inputs, targets = (list(each) for each in rows(4, 3))
    if place == "input":
        inputs[1] = value
    else:
        targets[1] = value
    return {"train": (tuple(inputs), tuple(targets))}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": (rows(4, 3)[0][:1], rows(4, 3)[1])}, "train: the signature has 2 tasks, got 1 inputs and 2 targets"),
        (change("input", rows(4, 2)[0][1]), r"train\.drawing: expected float32 \(3, 2, 8, 9\), got float32 \(2, "),
        (change("input", np.zeros((3, 2, 8, 9))), r"train\.drawing: .* got float64"),
        (
            change("target", np.array([0, 5, 1])),
            r"train\.letter: expected int64 classes from 0 to 4, got int64 from 0 to 5",
        ),
        (change("target", np.array([0, NOTHING, 1])), r"train\.letter: .* from -100 to 1"),
        (change("target", np.array([0.0, 1.0, 2.0])), r"train\.letter: .* got float64"),
        ({"train": rows(4, 0)}, r"train\.letter: needs at least one row, got none"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(splits: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiTask(PORTS, splits)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan")), (1.0, float("inf"))])
def test_weights_that_are_none_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="weights: must be a number > 0 for each of 2 tasks, got"):
        MultiTask(PORTS, {}, weights=weights)


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        (PORTS.outputs[:1], "2 inputs and the outputs animal"),
        ((), r"2 inputs and the outputs \(none\)"),
        (PORTS.outputs[:1] * 2, "2 inputs and the outputs animal, animal"),
    ],
)
def test_a_signature_needs_an_output_of_its_own_per_input(outputs: tuple[Port, ...], found: str) -> None:
    with pytest.raises(InputError, match=f"an output with a name of its own per input, got {found}"):
        MultiTask(Signature(inputs=PORTS.inputs, outputs=outputs), {})
