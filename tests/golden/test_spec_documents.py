"""What is written about the spec is true: its JSON Schema, its guide, the example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from components import parts
from components.spec import Bins, CommonTask, Holdout, Source, Spec, TaskSpec
from components.spec_file import check_file, parse_spec, schema
from components.yaml_lines import path, read_yaml
from nas_core import registry

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "spec.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
SPECS = [block for block in BLOCKS if block.startswith("name:")]
TASKS = [block for block in BLOCKS if block.startswith("task:")]


@pytest.fixture
def _only_ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No other package with parts of its own is installed."""

    def ours(**group: str) -> list[EntryPoint]:
        return [point for point in entry_points(**group) if point.value.startswith("components.")]

    monkeypatch.setattr(registry, "entry_points", ours)
    registry.targets.cache_clear()
    yield
    registry.targets.cache_clear()


@pytest.mark.usefixtures("_only_ours")
def test_the_schema_in_the_documents_is_the_one_of_the_code() -> None:
    written = json.loads((ROOT / "docs" / "spec.schema.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(schema())), "renew it with: evernas schema > docs/spec.schema.json"


def test_the_schema_is_one_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("text", [*SPECS, (ROOT / "examples" / "adult" / "spec.yaml").read_text(encoding="utf-8")])
def test_specs_in_the_documents_are_valid_by_code_and_schema(text: str) -> None:
    parse_spec(text, "spec.yaml")
    Draft202012Validator(schema()).validate(read_yaml(text, "spec.yaml").value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 0", "seed: x"),
        ("seed: 0", "sead: 0"),
        ("name: adult-income", "name: Adult"),
        ("kind: csv ", "kind: cvs "),
        ("kind: chain", "kind: chian"),
        ("max_depth: 4", "max_depth: four"),
        ("max_depth: 4", "max_dept: 4"),
        ("initial: 1", "initials: 1"),
        ("trials: 36", "trials: 0"),
        ("test: 0.15", "test: {column: split}"),
    ],
)
def test_the_schema_refuses_what_the_code_refuses(old: str, new: str) -> None:
    text = max(SPECS, key=len)
    assert text.count(old) == 1
    validator = Draft202012Validator(schema())
    assert not validator.is_valid(read_yaml(text.replace(old, new), "spec.yaml").value)


def test_the_example_passes_every_check() -> None:
    assert check_file(ROOT / "examples" / "adult" / "spec.yaml")[0].name == "adult-income"


def fields(model: BaseModel, location: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield location, default and value of every key of a read spec."""
    for name, field in type(model).model_fields.items():
        value, here = getattr(model, name), (*location, name)
        if isinstance(value, BaseModel):
            yield from fields(value, here)
        elif name != "objectives":
            yield here, field.get_default(call_default_factory=True), value
    for group_key, group in parts.GROUPS.items():
        if location == ("search", group_key):
            options = parts.options_model(group, model.kind)  # type: ignore[attr-defined]
            for field in options.model_fields.values():
                yield (*location, str(field.alias)), field.default, model.options.get(field.alias)  # type: ignore[attr-defined]


def test_the_guide_has_every_key_with_its_default() -> None:
    text = max(SPECS, key=len)
    given = {
        path(location): text.splitlines()[line - 1] for location, line in read_yaml(text, "spec.yaml").lines.items()
    }
    spec = Spec.model_validate_json(json.dumps(read_yaml(text, "spec.yaml").value))
    for location, default, value in fields(spec):
        name = path(location)
        assert name in given, f"{name} is not in the guide"
        if default is not None and default is not PydanticUndefined:
            said = f"default: {json.dumps(default)}" in given[name]  # where another value shows more
            assert said or json.dumps(value) == json.dumps(default), f"{name}: the default is {default}"
    for model in (Bins, Holdout):
        assert all(key in text for key in model.model_fields)


@pytest.mark.parametrize("text", TASKS)
def test_the_guide_has_every_key_of_each_kind_of_task_with_its_default(text: str) -> None:
    given = read_yaml(text, "task").value["task"]
    task = TypeAdapter(TaskSpec).validate_json(json.dumps(given))
    whole = {**read_yaml(SPECS[0], "spec.yaml").value, "task": given}
    Draft202012Validator(schema()).validate(whole)
    for name, field in type(task).model_fields.items():
        assert name in given or name in CommonTask.model_fields, f"{name} is not in the guide"
        if name not in CommonTask.model_fields and field.default not in (None, PydanticUndefined):
            assert given[name] == field.default


def test_the_guide_shows_every_kind_of_task_and_source() -> None:
    shown = {read_yaml(text, "task").value["task"]["kind"] for text in TASKS}
    assert shown | {"tabular"} == set(kinds(TaskSpec))
    assert all(f"| `{kind}` |" in GUIDE for kind in kinds(Source))


def kinds(union: Any) -> Iterator[str]:
    for model in get_args(get_args(union)[0]):
        yield from get_args(model.model_fields["kind"].annotation)
