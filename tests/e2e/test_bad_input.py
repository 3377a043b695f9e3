"""Bad input is one paragraph that names value, rule and fix; the exit code is 2, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Evernas
from tests.e2e.specs import TUMOUR, write_spec


def broken_parquet(folder: Path) -> dict[str, Any]:
    (folder / "rows.parquet").write_bytes(b"PAR1 this is not what it says")
    return {"task__source": {"kind": "parquet", "path": "rows.parquet"}}


def empty_csv(folder: Path) -> dict[str, Any]:
    (folder / "rows.csv").write_text("")
    return {"task__source": {"kind": "csv", "path": "rows.csv"}}


CASES: dict[str, tuple[dict[str, Any] | Callable[[Path], dict[str, Any]], str]] = {
    "unknown key": ({"search__budgget": {"trials": 3}}, "budgget"),
    "wrong type": ({"search__budget__trials": "many"}, "search.budget.trials"),
    "impossible limit": ({"search__objectives": [{"metric": "accuracy", "goal": "max", "limit": 1.5}]}, "1.5"),
    "no budget": ({"search__budget__trials": 0}, "search.budget.trials"),
    "missing file": ({"task__source": {"kind": "parquet", "path": "nowhere.parquet"}}, "nowhere.parquet"),
    "unreadable parquet": (broken_parquet, "rows.parquet"),
    "empty file": (empty_csv, "rows.csv"),
    "missing target": ({"task__target": "tarrget"}, "tarrget"),
    "unknown sensitive column": ({"task__sensitive": ["age"]}, "task.sensitive"),
    "unknown strategy": ({"search__strategy": {"kind": "evolutoin"}}, "evolutoin"),
    "unknown option": ({"search__strategy": {"kind": "regularized-evolution", "popullation": 3}}, "popullation"),
    "option out of range": ({"search__estimator": {"kind": "training", "epochs": 0}}, "epochs"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_before_anything_is_written(case: str, tmp_path: Path, evernas: Evernas) -> None:
    given, word = CASES[case]
    spec = write_spec(tmp_path, TUMOUR, **(given(tmp_path) if callable(given) else given))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    done = evernas("run", spec, "--root", tmp_path / "runs")
    assert done.returncode == 2, done.stdout + done.stderr
    assert word in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"name: " + b"x" * 50_000_000, "at most"),
        (b"name: !!python/object/apply:os.system ['true']\n", "tag"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchor"),
        (b"\xff\xfe\x00name", "UTF-8"),
        (b"", "empty"),
    ],
    ids=["50 MB", "tag", "alias bomb", "not text", "empty"],
)
def test_a_file_that_is_no_spec_is_refused(text: bytes, word: str, tmp_path: Path, evernas: Evernas) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_bytes(text)
    done = evernas("run", spec, "--root", tmp_path / "runs")
    assert done.returncode == 2
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == [spec]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["audit", "verify", "no-such-run"], "no-such-run"),
        (["serve", "no-such-champion"], "no-such-champion"),
        (["list", "spases"], "spaces"),
        (["ui", "--root", "nowhere"], "nowhere"),
        (["report", "no-such-run"], "no-such-run"),
        (["run"], "SPEC"),
    ],
)
def test_commands_name_what_they_did_not_find(
    arguments: list[str], word: str, tmp_path: Path, evernas: Evernas
) -> None:
    where = ["--root", str(tmp_path)] if arguments[0] in ("audit", "serve", "report") else []
    done = evernas(*arguments, *where)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
