"""What a plugin's author writes against, and that the example of one stays the page of code that it is said to be."""

from __future__ import annotations

from pathlib import Path

import nas_core

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin" / "evernas_cross_network.py"


def test_every_public_name_is_there_and_they_are_sorted() -> None:
    assert nas_core.__all__ == sorted(nas_core.__all__)
    assert all(hasattr(nas_core, name) for name in nas_core.__all__)


def test_the_example_of_a_space_has_less_than_40_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 40
