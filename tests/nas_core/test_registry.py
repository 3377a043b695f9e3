from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, get_args

import pytest

from nas_core import registry
from nas_core.errors import InputError
from nas_core.registry import Group

GROUPS = get_args(Group)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """The entry points that packages declare, to be added to."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in points if point.group == group])
    registry.targets.cache_clear()
    yield points
    registry.targets.cache_clear()


class Factory:
    """Makes something.

    And more about it.
    """

    def __init__(self, space: object, seed: int, *, depth: int = 3, name: str, rates: tuple[float, ...] = ()) -> None:
        self.given = (space, seed, depth, name, rates)


def function(signature: object, *, depth: int = 3) -> None: ...


@pytest.mark.parametrize("group", GROUPS)
def test_every_part_of_ours_imports_and_says_what_it_is(group: Group) -> None:
    assert registry.names(group) == sorted(registry.names(group))
    for name in registry.names(group):
        assert callable(registry.load(group, name))
        assert registry.summary(group, name).endswith(".")


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_ours_has_a_default(group: Group) -> None:
    """So that a spec may say `kind` and nothing else; but a table is nothing without its file."""
    for name in set(registry.names(group)) - {"table"}:
        options = registry.options(registry.load(group, name))
        assert [option.name for option in options if option.default is inspect.Parameter.empty] == []


def test_options_are_the_keyword_only_parameters() -> None:
    found = registry.options(Factory)
    assert [(option.name, option.type) for option in found] == [
        ("depth", int),
        ("name", str),
        ("rates", tuple[float, ...]),
    ]
    assert found[0].default == 3
    assert registry.options(function) == [registry.Option("depth", int, 3)]


def test_a_group_is_found_by_its_name() -> None:
    assert registry.group("spaces") == "spaces"
    with pytest.raises(InputError, match=r"unknown name 'space', expected one of .*; did you mean 'spaces'"):
        registry.group("space")


def test_an_unknown_name_lists_the_valid_ones_and_suggests_the_closest() -> None:
    with pytest.raises(InputError, match=r"strategies: unknown name 'randon', expected one of .*did you mean 'random'"):
        registry.load("strategies", "randon")


def test_a_package_adds_a_part(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("ordered", "collections:OrderedDict", "evernas.spaces"))
    assert "ordered" in registry.names("spaces")
    assert "ordered" not in registry.names("tasks")
    assert registry.load("spaces", "ordered").__name__ == "OrderedDict"


def test_a_package_cannot_take_a_name_of_ours(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("chain", "collections:OrderedDict", "evernas.spaces"))
    with pytest.raises(InputError, match="the name 'chain' of collections:OrderedDict is taken by nas_core"):
        registry.names("spaces")


def test_two_packages_cannot_share_a_name_but_one_may_be_found_twice(installed: list[EntryPoint]) -> None:
    """An editable install beside an old one declares the same entry point twice."""
    installed += [EntryPoint("mine", "collections:OrderedDict", "evernas.spaces")] * 2
    assert "mine" in registry.names("spaces")
    installed.append(EntryPoint("mine", "collections:Counter", "evernas.spaces"))
    registry.targets.cache_clear()
    with pytest.raises(InputError, match="rename it in the package"):
        registry.names("spaces")


@pytest.mark.parametrize("target", ["no_such_package:Space", "collections:NoSuchThing", "collections"])
def test_a_part_that_does_not_import_is_the_users_error(installed: list[EntryPoint], target: str) -> None:
    installed.append(EntryPoint("broken", target, "evernas.spaces"))
    with pytest.raises(InputError, match=rf"spaces.broken: {target} does not import .*; reinstall its package"):
        registry.load("spaces", "broken")


def test_a_broken_part_breaks_no_list(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("broken", "no_such_package:Space", "evernas.spaces"))
    assert "broken" in registry.names("spaces")


def test_naming_parts_imports_none() -> None:
    code = (
        "import sys; from nas_core import registry\n"
        "for group in registry.get_args(registry.Group): registry.names(group)\n"
        "print(*(name for name in sys.modules if name.startswith('nas_core.') and name.count('.') > 1))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []


def test_a_part_may_lack_a_docstring(installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch) -> None:
    bare: Any = type("Bare", (), {})
    monkeypatch.setattr("collections.Bare", bare, raising=False)
    installed.append(EntryPoint("bare", "collections:Bare", "evernas.spaces"))
    assert registry.summary("spaces", "bare") == ""


@pytest.mark.parametrize("group", ["costs", "estimators"])
def test_what_measures_says_what_that_takes(group: Group) -> None:
    assert all("cost" in registry.about(group, name) for name in registry._BUILT_IN[group])
    assert registry.about("spaces", "chain") == {}
