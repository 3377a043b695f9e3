"""The policy search, as its README says to run it, but smaller."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_core.errors import InputError
from tests.e2e.conftest import ROOT

SCRIPT = ROOT / "examples" / "cartpole" / "search.py"
Main = Callable[[list[str]], int]


@pytest.fixture(scope="module")
def main() -> Main:
    """The script's `main`, without a process of its own."""
    spec = importlib.util.spec_from_file_location("cartpole_search", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Main = module.main
    return found


def test_a_small_policy_solves_the_task_and_a_stopped_search_comes_to_the_same(
    main: Main, environment: dict[str, str], tmp_path: Path
) -> None:
    small = ["--updates", "16", "--json", str(tmp_path / "result.json")]
    command = [sys.executable, str(SCRIPT), "--trials", "2", *small]
    subprocess.run(command, env=environment, check=True)
    at_once = json.loads((tmp_path / "result.json").read_text())
    assert at_once["trials"] == 2
    assert at_once["best"]["reward"] >= 195
    for trials in ("1", "2"):
        main(["--trials", trials, "--folder", str(tmp_path / "record"), *small])
    assert json.loads((tmp_path / "result.json").read_text()) == at_once


def test_help_ends_with_an_example(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "example: python examples/cartpole/search.py --trials 20" in capsys.readouterr().out


def test_an_unknown_strategy_is_named(main: Main) -> None:
    with pytest.raises(InputError, match="unknown name 'evolution', expected one of asha,"):
        main(["--strategy", "evolution"])
