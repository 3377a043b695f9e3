from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import parts
from components.spec import Part, Spec
from components.spec_file import parse_spec
from nas_core import registry
from nas_core.errors import InputError
from nas_core.types import Objective, Port, Signature

MODULE = '''
from __future__ import annotations
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from nas_core.errors import InputError
from nas_core.types import Decision

if TYPE_CHECKING:
    from somewhere import Something


class Space:
    """Two plain decisions."""

    def __init__(
        self, signature: Any, *, size: int = 2, rates: tuple[float, ...] = (0.1,), names: Sequence[str] = (),
        copy: bool = False, top: int | None = None, depth: int = 1,
    ) -> None:
        if size < 2:
            raise InputError(f"size: must be >= 2, got {size}")
        options = tuple(str(i) for i in range(size))
        self.signature, self.given, self.depth = signature, (size, rates, names, copy, top), depth
        self.decisions = (Decision(name="a", options=options), Decision(name="b", options=options))


class Needy:
    def __init__(self, signature: Any, *, must: int) -> None:
        self.must = must


def estimator(space: Any, task: Any, seed: int, *, epochs: int = 1) -> Any:
    if epochs < 1:
        raise InputError(f"epochs: must be >= 1, got {epochs}")
    return space, task, seed, epochs


def untyped(space: Any, task: Any, seed: int, *, epochs=1): ...
def hidden(space: Any, task: Any, seed: int, *, some: Something | None = None): ...
def foreign(space: Any, task: Any, seed: int, *, some: InputError | None = None): ...
'''
ENTRY_POINTS = """
[evernas.spaces]
own-space = own_parts:Space
needy = own_parts:Needy

[evernas.estimators]
own-estimator = own_parts:estimator
untyped = own_parts:untyped
hidden = own_parts:hidden
foreign = own_parts:foreign
gone = own_parts:Gone
"""


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with parts of its own is installed."""
    info = tmp_path / "own_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    (tmp_path / "own_parts.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.targets.cache_clear()
    parts.options_model.cache_clear()
    yield
    registry.targets.cache_clear()
    parts.options_model.cache_clear()


SIGNATURE = Signature(inputs=(Port(name="numeric", shape=(3,)),), outputs=(Port(name="y", shape=(2,), classes=2),))


def part(kind: str, **options: Any) -> Part:
    return Part.model_validate({"kind": kind, **options})


def spec(space: str = "{kind: own-space}", more: str = "") -> Spec:
    return parse_spec(
        f"""
name: own
seed: 7
task: {{kind: tabular, source: {{kind: builtin, name: adult}}, target: income}}
search:
  space: {space}
  strategy: {{kind: random}}
  estimator: {{kind: own-estimator, epochs: 2}}
  objectives: [{{metric: beauty, goal: max}}, {{metric: weight, goal: min, limit: 3}}]
  budget: {{trials: 1}}
{more}
""",
        "spec.yaml",
    )


def retraining(**keys: Any) -> Spec:
    return spec(more=f"retrain: {json.dumps(keys)}")


def test_a_plugins_options_become_typed() -> None:
    factory, options = parts.resolve("spaces", part("own-space", size=3, rates=[1, 0.5], names=["x"], top=None))
    assert options == {"size": 3, "rates": (1.0, 0.5), "names": ["x"], "top": None}
    assert factory(SIGNATURE, **options).given == (3, (1.0, 0.5), ["x"], False, None)


def test_options_that_are_left_out_are_the_factorys_own() -> None:
    assert parts.resolve("spaces", part("own-space"))[1] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sise": 3},
            "sise: unknown key 'sise', expected one of copy, depth, names, rates, size, top; did you mean 'size'?",
        ),
        ({"size": "3"}, 'size: must be a whole number, got "3"; the default is 2'),
        ({"size": 2.5}, "size: must be a whole number, got 2.5; the default is 2"),
        ({"size": True}, "size: must be a whole number, got true; the default is 2"),
        ({"rates": 0.1}, "rates: must be a list, got 0.1; write [0.1]"),
        ({"rates": [0.1, "x"]}, 'rates[1]: must be a number, got "x"'),
        ({"rates": [float("nan")]}, "rates[0]: must be a finite number, got NaN"),
        ({"names": "x"}, 'names: must be a list, got "x"; write ["x"]'),
        ({"copy": "no"}, 'copy: must be true or false, got "no"; the default is false'),
        ({"top": "x"}, 'top: must be a whole number, got "x"'),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parts.resolve("spaces", part("own-space", **options))
    assert str(caught.value) == message


def test_an_option_without_default_has_to_be_given() -> None:
    assert parts.resolve("spaces", part("needy", must=1))[1] == {"must": 1}
    with pytest.raises(InputError, match=r"^must: is missing; add the key$"):
        parts.resolve("spaces", part("needy"))


def test_an_unknown_kind_is_refused_with_the_closest() -> None:
    with pytest.raises(
        InputError, match=r"^kind: unknown name 'own-spase', expected one of .*chain, .*did you mean 'own-space'"
    ):
        parts.resolve("spaces", part("own-spase"))


@pytest.mark.parametrize("kind", ["untyped", "hidden", "foreign"])
def test_a_factory_whose_options_no_spec_can_write_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=f"^kind: the options of {kind} cannot be read"):
        parts.options_model("estimators", kind)


def test_a_part_that_does_not_import_is_refused() -> None:
    with pytest.raises(InputError, match=r"^kind: estimators\.gone: own_parts:Gone does not import"):
        parts.resolve("estimators", part("gone"))


@pytest.mark.parametrize("group", parts.GROUPS.values())
def test_the_options_of_all_our_own_parts_can_be_read(group: registry.Group) -> None:
    own = {name for name, target in registry.targets(group).items() if target.startswith("nas_core.")}
    assert own
    for kind in own:
        options = [option.name for option in registry.options(registry.load(group, kind))]
        assert [field.alias for field in parts.options_model(group, kind).model_fields.values()] == options


def test_all_parts_of_a_spec_are_built() -> None:
    read = spec("{kind: own-space, size: 3}")
    space = parts.build_space(read, SIGNATURE)
    assert len(space.decisions[0].options) == 3
    assert parts.build_strategy(read, space).propose([], 1)
    assert parts.build_estimator(read, space, "task") == (space, "task", 7, 2)  # type: ignore[arg-type,comparison-overlap]


def test_retraining_changes_options_and_seed_of_the_searchs_estimator() -> None:
    changed = retraining(options={"epochs": 9})
    assert parts.trainer(changed) == (part("own-estimator", epochs=9), "retrain.options")
    with pytest.raises(InputError, match=r"^retrain\.options\.epochs: must be >= 1, got 0$"):
        parts.build_trainer(retraining(options={"epochs": 0}), "space", "task", 1)  # type: ignore[arg-type]


def test_another_estimator_can_train_what_the_search_found() -> None:
    other = retraining(estimator={"kind": "training", "epochs": 3})
    assert parts.trainer(other) == (part("training", epochs=3), "retrain.estimator")


def test_an_estimator_that_cannot_train_is_refused() -> None:
    rule = r"^search\.estimator\.kind: 'own-estimator' trains nothing that could be deployed; set retrain\.estimator"
    with pytest.raises(InputError, match=rule):
        parts.build_trainer(spec(), "space", "task", 1)  # type: ignore[arg-type]


def test_the_final_space_differs_in_what_all_architectures_share_only() -> None:
    assert parts.build_final_space(spec(), SIGNATURE).decisions == parts.build_space(spec(), SIGNATURE).decisions
    deeper = retraining(space={"depth": 5})
    assert parts.build_final_space(deeper, SIGNATURE).depth == 5  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"^retrain\.space: size must leave the decisions as they are"):
        parts.build_final_space(retraining(space={"size": 3}), SIGNATURE)


def test_paths_among_options_start_where_the_spec_says(tmp_path: Path) -> None:
    looked_up = retraining(estimator={"kind": "tabular", "path": "table.npz", "dataset": "cifar10"})
    found = parts.grounded(looked_up, tmp_path)
    assert found.retrain.estimator == part("tabular", path=str(tmp_path / "table.npz"), dataset="cifar10")
    assert (found.search, found.task) == (looked_up.search, looked_up.task)
    assert parts.grounded(found, Path("elsewhere")) == found


def test_the_objectives_are_those_of_the_spec() -> None:
    wanted = (Objective(metric="beauty", goal="max"), Objective(metric="weight", goal="min", limit=3.0))
    assert parts.objectives(spec()) == wanted


def test_what_a_factory_refuses_is_located_in_the_spec() -> None:
    with pytest.raises(InputError, match=r"^search\.space\.size: must be >= 2, got 1$"):
        parts.build_space(spec("{kind: own-space, size: 1}"), SIGNATURE)


def test_metrics_of_an_estimator_that_is_not_ours_are_left_to_it() -> None:
    assert spec().search.objectives[0].metric == "beauty"
