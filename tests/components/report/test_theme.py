from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from components.report import theme
from components.report.theme import Drawn


def drawn(label: str = "accuracy", title: str = "A line.") -> Drawn:
    with theme.style():
        figure = theme.figure(2)
        axes = figure.subplots()
        axes.plot([0.123456, 1], [1, 2], color=theme.BLUE, label=label)
        theme.count_axis(axes, label)
        theme.finish(figure)
    return Drawn("figure", figure, title)


def test_the_same_figure_is_the_same_text() -> None:
    assert theme.svg(drawn()) == theme.svg(drawn())


def test_the_same_figure_is_the_same_picture() -> None:
    assert theme.png(drawn()) == theme.png(drawn())


def test_colours_are_left_to_the_page() -> None:
    text = theme.svg(drawn())
    assert "var(--blue)" in text
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) <= {"#000000"}


def test_ids_cannot_clash_with_those_of_another_figure_or_the_page() -> None:
    ids = set(re.findall(r'\bid="([^"]*)"', theme.svg(drawn())))
    assert all(re.fullmatch(r"[mpC][0-9a-f_]+", name) for name in ids)


@pytest.mark.parametrize(
    "label", ["<script>alert(1)</script>", '" onload="alert(1)', "a & b", "$50K to $100K", "#0072b2"]
)
def test_a_label_is_text_whatever_it_says(label: str) -> None:
    root = ET.fromstring(theme.svg(drawn(label, title=label)))  # noqa: S314  our own text
    assert root.get("aria-label") == label
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert label in texts
    assert not [element for element in root.iter() if element.tag.endswith("script") or element.get("onload")]


def test_a_label_in_another_script_draws_without_a_warning() -> None:
    assert theme.png(drawn("女性"))
