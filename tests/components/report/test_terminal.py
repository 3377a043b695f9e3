from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from components.report.summary import summarise
from components.report.terminal import show

from .conftest import Record


def printed(summary: dict[str, Any], width: int = 80) -> str:
    file = io.StringIO()
    show(summary, Console(file=file, width=width))
    return file.getvalue()


def summary_of(record: Record) -> dict[str, Any]:
    return summarise(record.ledger.entries(), record.spec, record.folder / "report.html")


def test_what_a_person_wants_to_know(cycle: Record) -> None:
    summary = summary_of(cycle.deploy())
    text = " ".join(printed(summary).split())
    accuracy = summary["champion"]["test_accuracy"]
    for part in (
        "PROMOTED tumour has a new champion",
        "accuracy is 0.3 better than the classes' shares alone",
        f"{100 * accuracy['mean']:.2f} % ± {100 * accuracy['std']:.2f} over 2 seeds",
        f"{100 * summary['baseline']['test_accuracy']:.2f} % HistGradientBoostingClassifier, same rows",
        f"{summary['champion']['params']} parameters, 0.125 MB",
        "0.08 ms a row",
        f"Fairness {summary['fairness']['mean radius']}: mean radius",
        "report.html",
        "evernas ui",
        "evernas serve tumour",
        "evernas audit verify tumour-1",
    ):
        assert part in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_are_no_longer_than_the_terminal(cycle: Record, width: int) -> None:
    assert max(map(len, printed(summary_of(cycle.deploy()), width).splitlines())) <= width


def test_without_a_terminal_there_is_neither_colour_nor_markup(cycle: Record) -> None:
    text = printed(summary_of(cycle.deploy()))
    assert "\x1b" not in text
    assert "[/" not in text


def test_brackets_in_a_message_are_text(record: Record) -> None:
    message = "columns [red]sex[/red] and [/] do not exist"
    record.begin().ledger.append("failure", {"stage": "data_prep", "code": 2, "message": message})
    assert message in printed(summary_of(record), 200)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_will_do(cycle: Record, encoding: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show(summary_of(cycle.deploy()), Console(file=file, width=80))
    file.flush()


def test_a_message_cannot_command_the_terminal(record: Record) -> None:
    message = "no column \x1b]0;gotcha\x07\x1b[2J"
    record.begin().ledger.append("failure", {"stage": "data_prep", "code": 2, "message": message})
    text = printed(summary_of(record), 200)
    assert "no column ?]0;gotcha?[2J" in text
    assert "\x1b" not in text


def test_a_cycle_without_a_search_is_short(record: Record) -> None:
    text = printed(summary_of(record.begin().drift(go=False)))
    assert "NO DRIFT" in text
    assert "Candidates" not in text
    assert "MLflow" not in text


def test_attributes_stand_by_their_verdict_the_worst_first(cycle: Record) -> None:
    verdicts = {"age": "pass", "sex": "fail", "race": "inconclusive", "sex & race": "fail"}
    text = " ".join(printed({**summary_of(cycle), "fairness": verdicts}).split())
    assert "fail: sex, sex & race inconclusive: race pass: age" in text
