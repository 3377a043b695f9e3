from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

from nas_core.errors import InputError
from nas_core.tasks.tabular import Arrays, Tabular
from nas_core.types import Port, Signature


def signature(classes: int = 2) -> Signature:
    return Signature(
        inputs=(Port(name="numeric", shape=(3,)), Port(name="job", shape=(), dtype="int64", classes=4)),
        outputs=(Port(name="label", shape=(classes,), classes=classes),),
    )


def rows(count: int, classes: int = 2) -> Arrays:
    rng = np.random.default_rng(count)
    numbers = rng.normal(size=(count, 3)).astype(np.float32)
    return (numbers, rng.integers(0, 4, count)), rng.integers(0, classes, count)


@pytest.fixture
def task() -> Tabular:
    return Tabular(signature(), {"train": rows(100), "validation": rows(30)})


def test_a_split_that_was_not_given_does_not_exist(task: Tabular) -> None:
    assert task.rows("train") == 100
    for call in (lambda: task.rows("test"), lambda: next(task.batches("test", 10))):
        with pytest.raises(InputError, match="split: unknown name 'test', expected one of train, validation"):
            call()


@given(st.integers(1, 200), st.integers(1, 60), st.booleans())
def test_batches_hold_every_row_once_and_differ_by_one_row_at_most(count: int, size: int, shuffled: bool) -> None:
    inputs, target = rows(count)
    task = Tabular(signature(), {"train": ((inputs[0], np.arange(count)), target)})
    order = np.random.default_rng(0) if shuffled else None
    batches = list(task.batches("train", size, order))
    sizes = [len(targets[0]) for _, targets in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    seen = torch.cat([batch[1] for batch, _ in batches])
    assert seen.sort().values.tolist() == list(range(count))
    assert torch.equal(torch.cat([batch[0] for batch, _ in batches]), torch.from_numpy(inputs[0])[seen])
    assert torch.equal(torch.cat([targets[0] for _, targets in batches]), torch.from_numpy(target)[seen])


def test_without_order_rows_come_as_they_are_stored(task: Tabular) -> None:
    numbers = torch.cat([inputs[0] for inputs, _ in task.batches("train", 7)])
    assert torch.equal(numbers, torch.from_numpy(rows(100)[0][0]))


def test_the_order_comes_from_its_generator_alone(task: Tabular) -> None:
    first, same, other = (
        torch.cat([targets[0] for _, targets in task.batches("train", 9, np.random.default_rng(seed))])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("classes", [2, 5])
def test_metrics_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(300, classes)).astype(np.float32).round(1), rng.integers(0, classes, 300)
    found = Tabular(signature(classes), {}).metrics((torch.from_numpy(logits),), (torch.from_numpy(target),))
    probabilities = torch.from_numpy(logits).double().softmax(1).numpy()
    expected = {
        "accuracy": accuracy_score(target, logits.argmax(1)),
        "balanced_accuracy": balanced_accuracy_score(target, logits.argmax(1)),
        "log_loss": log_loss(target, probabilities),
    }
    if classes == 2:
        expected["auroc"] = roc_auc_score(target, probabilities[:, 1])
    assert found == pytest.approx(expected, abs=1e-6)


def test_metrics_of_rows_that_lack_a_class_are_finite() -> None:
    found = Tabular(signature(), {}).metrics((torch.tensor([[1.0, 0.0]] * 4),), (torch.zeros(4, dtype=torch.int64),))
    assert set(found) == {"accuracy", "balanced_accuracy", "log_loss"}
    assert np.isfinite(list(found.values())).all()


def test_the_loss_is_cross_entropy() -> None:
    loss = Tabular(signature(), {}).loss((torch.zeros(5, 2),), (torch.zeros(5, dtype=torch.int64),))
    assert loss.item() == pytest.approx(np.log(2))


def test_read_only_arrays_are_taken_without_a_warning_and_left_alone() -> None:
    (numbers, jobs), target = rows(10)
    for array in (numbers, jobs, target):
        array.flags.writeable = False
    before = numbers.copy()
    [(inputs, _)] = Tabular(signature(), {"train": ((numbers, jobs), target)}).batches("train", 10)
    inputs[0].zero_()
    assert np.array_equal(numbers, before)


def test_it_travels_without_its_tensors(task: Tabular) -> None:
    before = len(pickle.dumps(task))
    first = next(task.batches("train", 10))
    assert len(pickle.dumps(task)) == before
    copy: Tabular = pickle.loads(pickle.dumps(task))  # noqa: S301  what Ray does to send it to a worker
    assert torch.equal(next(copy.batches("train", 10))[0][0], first[0][0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((np.zeros((5, 3), np.float32),), "has 2 inputs, got 1 arrays"),
        ((np.zeros((5, 2), np.float32), np.zeros(5, np.int64)), r"train\.numeric: expected float32 \(5, 3\)"),
        ((np.zeros((5, 3)), np.zeros(5, np.int64)), "got float64"),
        ((np.zeros((5, 3), np.float32), np.zeros(4, np.int64)), r"train\.job: expected int64 \(5,\), got int64 \(4,\)"),
    ],
)
def test_arrays_that_do_not_fit_the_signature_are_named(inputs: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tabular(signature(), {"train": (inputs, np.zeros(5, np.int64))})


def test_several_targets_are_refused() -> None:
    two = Signature(inputs=signature().inputs, outputs=signature().outputs * 2)
    with pytest.raises(InputError, match="one target, got 2"):
        Tabular(two, {})


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (
            (Port(name="image", shape=(3, 8, 8)),),
            r"got 'image' float32 \(3, 8, 8\) of 0 classes; choose the kind of task",
        ),
        ((Port(name="text", shape=(9,), dtype="int64", classes=50),), r"got 'text' int64 \(9,\) of 50 classes"),
        ((Port(name="colour", shape=(), dtype="int64"),), r"got 'colour' int64 \(\) of 0 classes"),
        ((), "one input port at least"),
    ],
)
def test_ports_that_are_no_table_are_refused(ports: tuple[Port, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tabular(Signature(inputs=ports, outputs=signature().outputs), {})


# ---------------------------------------------------------------- samples


def kept(task: Tabular, share: float, seed: int = 0) -> set[float]:
    """Return the first figure of each row, by which rows are told apart."""
    return {float(x) for batch, _ in task.sample(share, seed).batches("train", 1000) for x in batch[0][:, 0]}


@pytest.fixture(scope="module")
def uneven() -> Tabular:
    """1,000 rows, 100 of them of class 1."""
    inputs, _ = rows(1000)
    numbered = (np.arange(1000, dtype=np.float32)[:, None].repeat(inputs[0].shape[1], axis=1), *inputs[1:])
    target = (np.arange(1000) % 10 == 0).astype(np.int64)
    return Tabular(signature(), {"train": (numbered, target), "validation": (inputs, target)})


def test_a_sample_keeps_the_shares_of_the_classes(uneven: Tabular) -> None:
    [(_, (target,))] = uneven.sample(0.2, 0).batches("train", 1000)
    assert torch.bincount(target).tolist() == [180, 20]


def test_the_rarest_class_keeps_a_row(uneven: Tabular) -> None:
    [(_, (target,))] = uneven.sample(0.001, 0).batches("train", 1000)
    assert torch.bincount(target).tolist() == [1, 1]


@given(st.floats(0.001, 1), st.floats(0.001, 1))
def test_of_one_seed_the_smaller_sample_is_part_of_the_larger(uneven: Tabular, one: float, other: float) -> None:
    assert kept(uneven, min(one, other)) <= kept(uneven, max(one, other))


def test_other_seeds_draw_other_rows_and_all_rows_are_all(uneven: Tabular) -> None:
    assert kept(uneven, 0.3, 0) != kept(uneven, 0.3, 1)
    assert len(kept(uneven, 1.0)) == 1000


def test_a_sample_leaves_validation_and_the_task_alone(uneven: Tabular) -> None:
    sample = uneven.sample(0.1, 0)
    assert (sample.rows("train"), sample.rows("validation"), uneven.rows("train")) == (100, 1000, 1000)
