from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.spec_file import parse_spec, read_spec
from nas_core.errors import InputError

GOOD = """\
name: adult
task:
  kind: tabular
  source: {kind: builtin, name: adult}
  target: income
  sensitive: [sex, age]
search:
  space: {kind: chain}
  objectives:
    - {metric: accuracy, goal: max}
    - {metric: params, goal: min, limit: 5e5}
  budget:
    trials: 30
fairness:
  bins: [{column: age, edges: [30, 60]}]
deploy:
  max_parity_error: 1e-4
"""


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_spec(text, "spec.yaml")
    return str(caught.value)


def test_a_good_spec_is_read(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD, encoding="utf-8")
    spec = read_spec(file)
    assert spec == parse_spec(GOOD, "elsewhere")
    assert spec.name == "adult"
    assert spec.search.objectives[1].limit == 500_000
    assert spec.deploy.max_parity_error == 1e-4


def cases() -> list[tuple[str, ...]]:
    text = (Path(__file__).parents[1] / "golden" / "spec_errors.txt").read_text(encoding="utf-8")
    found = re.findall(r"^- (.*)\n\+ ?(.*)\n= (.*)$", text, re.MULTILINE)
    assert len(found) == text.count("\n=")
    return [tuple(line.replace("\\n", "\n") for line in case) for case in found]


@pytest.mark.parametrize(("old", "new", "expected"), cases())
def test_what_is_wrong_is_told_with_line_value_rule_and_fix(old: str, new: str, expected: str) -> None:
    assert refusal(changed(old, new)) == f"spec.yaml:{expected}"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_spec_is_said_to_be_empty(text: str) -> None:
    assert refusal(text).startswith("spec.yaml: is empty")


@pytest.mark.parametrize("text", ["- a\n", "text\n", "3\n"])
def test_a_spec_that_is_no_mapping_is_refused(text: str) -> None:
    assert refusal(text).startswith("spec.yaml:1: must be a mapping of keys to values, got ")


def test_all_errors_are_told_in_the_order_of_lines() -> None:
    text = changed("name: adult\n", "name: A\n").replace("trials: 30", "trials: 0").replace("kind: builtin", "kind: x")
    assert refusal(text).splitlines() == [
        "spec.yaml:1: name: must be 1 to 40 of a-z, 0-9 and inner hyphens, got 'A'; rename it",
        "  also line 4: task.source.kind: unknown name 'x', expected one of builtin, csv, folder, lines, npz, parquet",
        "  also line 13: search.budget.trials: must be at least 1, got 0",
    ]


def test_of_many_errors_ten_are_told() -> None:
    lines = refusal(GOOD + "".join(f"key_{i}: 1\n" for i in range(40))).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "  and 30 more"


def test_an_error_holds_nothing_that_a_terminal_would_act_on() -> None:
    assert refusal(changed("30\n", '"\\x9b31m\\e[2J"\n')).isprintable()
    assert refusal(f'{GOOD}"\\x9b31m": 1\n').isprintable()


def test_an_error_is_short_whatever_was_given() -> None:
    long = "x" * 500_000
    for text in (
        f"{GOOD}{long}: 1\n",
        changed("30\n", f"{long}\n"),
        changed("builtin", long),
        changed("{kind: chain}", f"[{long}]"),
    ):
        assert len(refusal(text)) < 400


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"spec\.yaml': cannot be read, No such file or directory"):
        read_spec(tmp_path / "spec.yaml")


def test_a_path_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(Path("a\0b"))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a file, got a folder"):
        read_spec(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "spec.yaml")
    with pytest.raises(InputError, match="must be a file, got a pipe"):
        read_spec(tmp_path / "spec.yaml")


def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match="must be a file, got a device"):
        read_spec(Path("/dev/zero"))


def test_a_file_of_50_mb_is_refused_without_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(50_000_000)
    start = time.process_time()
    with pytest.raises(InputError, match="must be at most 1 MiB"):
        read_spec(file)
    assert time.process_time() - start < 1


def test_a_text_of_more_than_a_mebibyte_is_refused() -> None:
    assert "must be at most 1 MiB" in refusal(GOOD + "#" * 2**20)


def test_what_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(b"name: x\ntask: caf\xe9\n")
    with pytest.raises(InputError, match=r"spec\.yaml:2: must be UTF-8 text, got the byte 0xe9"):
        read_spec(file)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(InputError):
        read_spec(file)


def test_reading_a_spec_loads_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD, encoding="utf-8")
    code = (
        "import sys, pathlib; from components.spec_file import read_spec; read_spec(pathlib.Path(sys.argv[1]));"
        "print(*{'torch', 'numpy', 'pandas', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


tokens = st.sampled_from(
    [
        *GOOD.split(),
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "*a",
        "&a",
        "!!str",
        "~",
        "no",
        "'",
    ]
)


@given(st.text(max_size=200) | st.lists(tokens, max_size=30).map(" ".join))
def test_any_text_is_a_spec_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        parse_spec(text, "spec.yaml")


@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=6) | tokens)
def test_a_spec_with_one_place_changed_is_a_spec_or_an_input_error(start: int, length: int, new: str) -> None:
    with contextlib.suppress(InputError):
        parse_spec(GOOD[:start] + new + GOOD[start + length :], "spec.yaml")
