from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.resuming import changed_keys, check_unchanged, differences, note_environment
from components.run import Run
from nas_core.errors import InputError


@pytest.fixture
def copy(stepped: Run, tmp_path: Path) -> Run:
    shutil.copytree(stepped.folder, tmp_path / "one", symlinks=True)
    return Run.open(tmp_path, "one")


def test_a_run_that_nobody_touched_may_go_on(copy: Run) -> None:
    check_unchanged(copy)


def test_another_spec_is_named_by_its_keys(copy: Run) -> None:
    path = copy.folder / "spec.yaml"
    path.write_text(path.read_text().replace("trials: 4", "trials: 40"))
    with pytest.raises(InputError, match=r"spec.yaml: search.budget.trials: 4 has become 40"):
        check_unchanged(copy)


def test_other_files_are_named(copy: Run) -> None:
    with (copy.folder / "data_prep" / "train.npz").open("ab") as file:
        file.write(b"x")
    (copy.folder / "retrain" / "model" / "weights.safetensors").unlink(missing_ok=True)
    gone = next(path for path in sorted((copy.folder / "retrain").rglob("*")) if path.is_file())
    gone.unlink()
    with pytest.raises(InputError, match=r"data_prep/train.npz: has other bytes than were recorded") as caught:
        check_unchanged(copy)
    assert "is gone" in str(caught.value)


def test_another_source_is_named(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from components import resuming

    read = resuming.read
    monkeypatch.setattr(resuming, "read", lambda source, base: read(source, base).iloc[1:])
    with pytest.raises(InputError, match=r"task.source: the data has another digest, \w{16} instead of \w{16}"):
        check_unchanged(copy)


def test_differing_keys_are_told_with_both_values() -> None:
    assert changed_keys("a: 1\nb: {c: 2}\n", "a: 1\nb: {c: 3}\nd: x\n") == [
        "b.c: 2 has become 3",
        "d: (nothing) has become 'x'",
    ]
    assert changed_keys("a: 1\n", "a: 1 # one\n") == ["comments in the spec"]


def test_another_environment_is_told_and_no_obstacle(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert note_environment(copy) == {}
    monkeypatch.setenv("EVERNAS_IMAGE", "evernas:next")
    assert note_environment(copy) == {"image": ("", "evernas:next")}
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": (2, None), "c": (None, 3)}
