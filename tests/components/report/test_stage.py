from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components import parts
from components.prepared import Prepared
from components.report.stage import report
from nas_core import space as algebra
from nas_core.errors import IntegrityError
from nas_core.study import LedgerStudy

from .conftest import SPEC, Record

SPEC_OF_MANY = SPEC.replace("max_depth: 2, widths: [8, 16], numeric: [linear]", "max_depth: 4")
FIGURES = {"anytime.png", "trade-off.png", "accuracy.png", "learning.png"}


def written(folder: Path) -> dict[str, bytes]:
    paths = [folder / "report.html", folder / "summary.json", *(folder / "figures").iterdir()]
    return {path.name: path.read_bytes() for path in paths}


def test_a_whole_cycle_is_page_summary_and_figures(cycle: Record) -> None:
    summary = report(cycle.deploy().folder, cycle.spec)
    files = written(cycle.folder)
    assert {"report.html", "summary.json"} | FIGURES <= set(files)
    assert json.loads(files["summary.json"]) == summary
    assert all(data.startswith(b"\x89PNG") for name, data in files.items() if name.endswith(".png"))
    text = files["report.html"].decode()
    assert text.count("<svg") == text.count('role="img" aria-label=') == len(files) - 2
    assert summary["champion"]["architecture_id"] in text
    assert not [path for path in cycle.folder.iterdir() if path.name.startswith(".")]


def test_the_same_record_gives_the_same_files(cycle: Record) -> None:
    report(cycle.folder, cycle.spec)
    before = written(cycle.folder)
    report(cycle.folder, cycle.spec)
    assert written(cycle.folder) == before


def test_a_cycle_that_recorded_nothing_has_a_report(record: Record) -> None:
    assert report(record.folder, record.spec)["decision"] == "failed"
    assert (record.folder / "report.html").is_file()
    assert (record.folder / "summary.json").is_file()


def test_an_audit_changed_by_hand_is_not_shown(cycle: Record) -> None:
    path = cycle.folder / "fairness" / "fairness.json"
    path.write_text(path.read_text(encoding="utf-8").replace("inconclusive", "pass"), encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"fairness\.json: is missing or was changed"):
        report(cycle.folder, cycle.spec)
    assert not (cycle.folder / "report.html").exists()


def test_a_record_changed_by_hand_is_not_shown(cycle: Record) -> None:
    path = cycle.folder / "ledger" / "00000000.jsonl"
    path.write_bytes(path.read_bytes().replace(b"tumour-1", b"tumour-2"))
    with pytest.raises(IntegrityError, match="changed after it was written"):
        report(cycle.folder, cycle.spec)


def test_without_the_prepared_data_candidates_are_shown_by_their_numbers(cycle: Record) -> None:
    shutil.rmtree(cycle.folder / "data_prep")
    report(cycle.folder, cycle.spec)
    assert "<i>decision 0</i>" in (cycle.folder / "report.html").read_text(encoding="utf-8")


def test_a_thousand_candidates_are_less_than_two_megabytes(cycle: Record) -> None:
    wide = Record(cycle.folder.with_name("wide"), SPEC_OF_MANY)
    shutil.copytree(cycle.folder / "data_prep", wide.folder / "data_prep")
    space = parts.build_space(wide.spec, Prepared.load(wide.folder / "data_prep").signature)
    wide.begin().drift()
    study = LedgerStudy(wide.ledger, space, parts.objectives(wide.spec), parts.build_strategy(wide.spec, space))
    rng = np.random.default_rng(0)
    outcomes = []
    for trial in study.ask(1000):
        size = float(len(algebra.describe(space, trial.architecture)) * rng.integers(1000))
        outcomes.append((trial.number, {"accuracy": float(rng.random()), "params": size, "log_loss": 0.5}, 2.5))
    study.tell_all(outcomes)
    assert report(wide.folder, wide.spec)["candidates"] == 1000
    assert (wide.folder / "report.html").stat().st_size < 2_000_000
