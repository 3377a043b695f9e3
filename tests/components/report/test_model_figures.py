from __future__ import annotations

from typing import Any

import pytest

from components.report import model_figures


def audit(*groups: dict[str, Any]) -> dict[str, Any]:
    attributes = {"race": {"verdict": "pass", "groups": list(groups)}}
    return {"metric": "equalized_odds", "confidence": 0.95, "attributes": attributes}


def group(name: str, rows: int = 400, *, judged: bool = True) -> dict[str, Any]:
    rates = {"selection_rate": 0.3, "tpr": 0.8, "fpr": 0.1, "accuracy": 0.85}
    return {"group": name, "n": rows, "positives": rows // 4, "judged": judged, **rates}


def seed(number: int, *, curve: bool = True) -> dict[str, Any]:
    figures = {"accuracy": 0.8, "log_loss": 0.4}
    return {"seed": number, "test": figures, "validation": figures, "curve": [[1, figures], [2, figures]] * curve}


def test_wilson_interval() -> None:
    # Newcombe 1998, table I: 15 of 148, and 81 of 263.
    assert model_figures.wilson(15 / 148, 148, 0.95) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert model_figures.wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_wilson_interval_of_none_at_all_begins_at_zero() -> None:
    assert model_figures.wilson(0.0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_each_rate_is_a_panel_with_all_judged_groups() -> None:
    drawn = model_figures.fairness(audit(group("a"), group("b"), group("few", 9, judged=False)))
    assert drawn is not None
    first, second = drawn.figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["a  (n = 400)", "b  (n = 400)"]
    assert (first.get_xlabel(), second.get_xlabel()) == ("true positive rate (%)", "false positive rate (%)")


def test_of_very_many_groups_the_largest_are_drawn() -> None:
    drawn = model_figures.fairness(audit(*(group(f"g{i}", 100 + i) for i in range(60))))
    assert drawn is not None
    shown = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert (len(shown), shown[0], shown[-1]) == (40, "g20  (n = 120)", "g59  (n = 159)")


def test_an_audit_that_could_judge_nobody_has_no_figure() -> None:
    assert model_figures.fairness(audit(group("a", judged=False))) is None


def test_learning_curves_mark_the_seed_that_goes_on() -> None:
    drawn = model_figures.learning({"seeds": [seed(7), seed(8)], "best": 1}, "accuracy")
    assert drawn is not None
    assert {text.get_text() for text in drawn.figure.legends[0].get_texts()} == {
        "seed 8, best on validation",
        "other seeds",
    }
    assert len(drawn.figure.axes) == 2


def test_without_curves_there_is_nothing_to_draw() -> None:
    assert model_figures.learning({"seeds": [seed(7, curve=False)], "best": 0}, "accuracy") is None
