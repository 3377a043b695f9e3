"""Installations are the same everywhere, and hold only what they are for."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
"""What torch's CUDA build brings along; torch itself pins it exactly."""


@cache
def pins() -> dict[str, str]:
    """Name -> version of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def project() -> dict[str, object]:
    """The project table of pyproject.toml."""
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def declared() -> list[Requirement]:
    """All requirements that pyproject.toml names, the extras' too."""
    dependencies, extras = project()["dependencies"], project()["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    found = [Requirement(line) for lines in (dependencies, *extras.values()) for line in lines]
    return [requirement for requirement in found if requirement.name != "evernas"]


def closure(distribution: str, extra: str) -> set[str]:
    """Names of all that installing `distribution[extra]` brings, by the installed packages' own metadata."""
    seen: set[tuple[str, str]] = set()
    todo = [(distribution, extra)]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            pytest.fail(f"{name} is required but not installed; run `make setup`")
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                todo += [(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)]
    return {name for name, _ in seen}


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_a_declared_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_whatever_gets_installed_is_pinned() -> None:
    unpinned = closure("evernas", "dev") - pins().keys() - {"evernas"}
    assert sorted(name for name in unpinned if not CUDA.match(name)) == []


def test_pins_hold_on_every_machine() -> None:
    assert [version for version in pins().values() if "+" in version] == []


def test_pins_are_sorted() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = [line.upper() for line in lines if not line.startswith("#")]
    assert names == sorted(names)


@pytest.mark.parametrize("extra", ["trial", "stages"])
def test_a_trial_is_installed_without_kubeflow_pipelines(extra: str) -> None:
    assert not closure("evernas", extra) & {"kfp", "kubernetes", "kfp-kubernetes"}
