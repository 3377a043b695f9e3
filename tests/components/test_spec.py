from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from components import spec as models
from components.spec import Bins, BudgetSpec, Holdout, LinesSource, Part, RetrainSpec, Spec, Split, TaskSpec
from components.spec_types import Strict

MINIMAL: dict[str, Any] = {
    "name": "adult",
    "task": {"kind": "tabular", "source": {"kind": "builtin", "name": "adult"}, "target": "income"},
    "search": {
        "space": {"kind": "chain"},
        "objectives": [{"metric": "accuracy", "goal": "max"}],
        "budget": {"trials": 3},
    },
}


def all_models() -> list[type[Strict]]:
    found = [m for m in vars(models).values() if isinstance(m, type) and issubclass(m, Strict) and m is not Strict]
    assert len(found) > 15
    return found


def read(model: type[Strict], value: dict[str, Any]) -> Any:
    return model.model_validate_json(json.dumps(value))


def test_a_minimal_spec_has_the_documented_defaults() -> None:
    spec = read(Spec, MINIMAL)
    assert spec.seed == 0
    assert spec.task.split == Split(validation=0.15, audit=0.15, test=0.15)
    assert (spec.search.strategy.kind, spec.search.estimator.kind) == ("bayesian", "training")
    assert spec.search.runner.kind == "ray"
    assert spec.retrain == RetrainSpec(seeds=3)
    assert spec.fairness.action == "report"


def test_a_spec_is_the_same_after_json_and_back() -> None:
    spec = read(Spec, {**MINIMAL, "search": {**MINIMAL["search"], "space": {"kind": "chain", "widths": [8, 16]}}})
    assert Spec.model_validate_json(spec.model_dump_json()) == spec


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read(Spec, MINIMAL).seed = 1


@pytest.mark.parametrize("model", all_models())
def test_every_model_is_described(model: type[Strict]) -> None:
    assert model.__doc__


@pytest.mark.parametrize("model", [m for m in all_models() if m is not Part])
def test_no_model_takes_an_unknown_key(model: type[Strict]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        read(model, {"surely-unknown": 1})


def test_a_whole_number_is_a_number_but_a_text_is_none() -> None:
    assert read(BudgetSpec, {"seconds": 60}).seconds == 60.0
    with pytest.raises(ValidationError, match="valid number"):
        read(BudgetSpec, {"seconds": "60"})


@pytest.mark.parametrize("value", [{"trials": 0}, {"seconds": 0}, {"seconds": 0.5}, {"seconds": float("inf")}, {}])
def test_a_budget_that_is_none_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(BudgetSpec, value)


@pytest.mark.parametrize("name", ["a", "adult-income", "0", "a" * 40])
def test_a_name_that_can_be_a_folder_and_a_host_is_taken(name: str) -> None:
    assert read(Spec, {**MINIMAL, "name": name}).name == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a" * 41, "a/b", "..", "a\n", "é"])
def test_a_name_that_cannot_be_a_folder_and_a_host_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="1 to 40 of a-z"):
        read(Spec, {**MINIMAL, "name": name})


def test_the_test_rows_are_a_share_or_a_holdout() -> None:
    assert read(Split, {"test": 0.2}).test == 0.2
    assert read(Split, {"test": {"column": "split", "value": "test"}}).test == Holdout(column="split", value="test")
    for wrong in ("a", True, None, [0.2]):
        with pytest.raises(ValidationError, match="valid number"):
            read(Split, {"test": wrong})


@pytest.mark.parametrize("test", [0.4, 0.5])
def test_shares_that_leave_nothing_for_training_are_refused(test: float) -> None:
    with pytest.raises(ValidationError, match="less than 1 together"):
        read(Split, {"validation": 0.3, "audit": 0.3, "test": test})


@pytest.mark.parametrize("edges", [[2, 1], [1, 1]])
def test_edges_of_bins_rise(edges: list[float]) -> None:
    with pytest.raises(ValidationError, match="must rise"):
        read(Bins, {"column": "age", "edges": edges})


def test_a_part_keeps_its_options_as_given() -> None:
    part = read(Part, {"kind": "chain", "widths": [8], "numeric": ["linear"]})
    assert part.options == {"widths": [8], "numeric": ["linear"]}


def test_no_name_of_a_union_member_is_a_key() -> None:
    """Locations of errors hold both; they are told apart by name."""
    keys = {name for model in all_models() for name in model.model_fields}
    tags = {
        kind for m in all_models() if "kind" in m.model_fields for kind in get_args(m.model_fields["kind"].annotation)
    }
    assert not keys & (tags | {"share", "rows"})


def task(**values: Any) -> Any:
    common = {"source": {"kind": "builtin", "name": "adult"}, "target": "label"}
    return TypeAdapter(TaskSpec).validate_json(json.dumps({**common, **values}))


def test_each_kind_of_task_has_keys_and_defaults_of_its_own() -> None:
    found = {kind: task(kind=kind).model_dump() for kind in ("tabular", "image", "text", "audio")}
    common = {"kind", *models.CommonTask.model_fields}
    assert {kind: {k: v for k, v in each.items() if k not in common} for kind, each in found.items()} == {
        "tabular": {"drop": ()},
        "image": {"column": "image", "size": None, "channels": None, "shift": 0.0, "flip": False},
        "text": {"column": "text", "vocabulary": 5000, "length": 32, "word_dropout": 0.1},
        "audio": {"column": "audio", "sample_rate": 8000, "seconds": 1.0, "shift": 0.05},
    }


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "image", "drop": ["a"]},
        {"kind": "image", "size": 0},
        {"kind": "image", "channels": 2},
        {"kind": "text", "length": 0},
        {"kind": "text", "size": 28},
        {"kind": "audio", "sample_rate": 100},
        {"kind": "audio", "seconds": 0},
        {"kind": "video"},
    ],
)
def test_a_task_takes_no_key_of_another_kind_and_no_value_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        task(**values)


@pytest.mark.parametrize(
    ("encoding", "known"),
    [("latin-1", True), ("UTF-16", True), ("latin", True), ("utf-88", False), ("hex", False), ("", False)],
)
def test_an_encoding_is_one_that_text_can_be_in(encoding: str, known: bool) -> None:
    given = {"kind": "lines", "path": "a.txt", "encoding": encoding}
    if known:
        assert read(LinesSource, given).encoding == encoding
    else:
        with pytest.raises(ValidationError, match="unknown encoding"):
            read(LinesSource, given)


def test_the_models_load_neither_torch_nor_numpy() -> None:
    code = "import components.spec, sys; print(*{'torch', 'numpy', 'pandas', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
