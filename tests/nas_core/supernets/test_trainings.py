"""Every registered training of a supernet: what it was interrupted at makes no difference to how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_core import registry
from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import SearchSpace, State, SupernetTraining, Task
from nas_core.supernets.driving import FolderSession, drive, read_state, write_state
from nas_core.types import Metrics
from tests.nas_core.supernets.conftest import IMAGES

SMALL: dict[str, dict[str, Any]] = {
    "spos": {"epochs": 2, "batch_size": 16},
    "te-nas": {"repeats": 1, "batch": 4, "lines": 1, "points": 4},
}
every_method = pytest.mark.parametrize("name", registry.names("supernets"))
Make = Callable[[str], SupernetTraining]


@pytest.fixture
def make(space: SearchSpace, task: Task) -> Make:
    def made(name: str, **options: Any) -> SupernetTraining:
        training: SupernetTraining = registry.load("supernets", name)(space, task, 3, **{**SMALL[name], **options})
        return training

    return made


def kept(state: State, folder: Path) -> State:
    """The state as a checkpoint gives it back."""
    folder.mkdir()
    write_state(state, folder)
    return read_state(folder)


def ended(training: SupernetTraining) -> SupernetTraining:
    while training.step < training.steps:
        training.advance()
    return training


def assert_same(found: State, expected: State) -> None:
    assert found.values == expected.values
    assert found.tensors.keys() == expected.tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())


@every_method
def test_interrupted_at_any_step_it_ends_with_the_same_bits(name: str, make: Make, tmp_path: Path) -> None:
    whole = make(name)
    states = [kept(whole.state(), tmp_path / "0")]
    metrics: list[Metrics] = []
    while whole.step < whole.steps:
        metrics.append(whole.advance())
        states.append(kept(whole.state(), tmp_path / str(whole.step)))
    assert whole.steps == len(states) - 1 > 2
    for step in range(0, whole.steps, max(1, whole.steps // 5)):
        torch.manual_seed(step)  # what the process drew before is no matter
        resumed = make(name)
        resumed.load(states[step])
        assert resumed.step == step
        assert resumed.advance() == metrics[step]
        assert_same(kept(ended(resumed).state(), tmp_path / f"again-{step}"), states[-1])


@every_method
def test_another_seed_is_another_training(name: str, make: Make, space: SearchSpace, task: Task) -> None:
    other = registry.load("supernets", name)(space, task, 4, **SMALL[name])
    assert make(name).advance() != other.advance()


@every_method
def test_the_global_generator_is_left_as_it_was(name: str, make: Make) -> None:
    before = torch.get_rng_state()
    make(name).advance()
    assert torch.equal(torch.get_rng_state(), before)


@every_method
def test_candidates_are_architectures_of_the_space(name: str, make: Make, space: SearchSpace) -> None:
    for architecture in ended(make(name)).candidates(3):
        algebra.validate(space, architecture)


@every_method
def test_a_state_of_another_training_is_refused_and_told_apart(name: str, make: Make) -> None:
    state = make(name).state()
    identity = state.values["identity"]
    for key, value in {"version": 99, "seed": 4, "method": "other"}.items():
        changed = replace(state, values={**state.values, "identity": {**identity, key: value}})
        with pytest.raises(InputError, match=rf"state\.{key}: must be that of this training, .*got {value}"):
            make(name).load(changed)


@every_method
def test_a_space_without_a_supernet_is_refused_with_those_that_have_one(name: str, task: Task) -> None:
    darts = registry.load("spaces", "darts")(IMAGES)
    with pytest.raises(InputError, match=rf"{name}: needs a space with a supernet, Darts has none.*nas-bench-201"):
        registry.load("supernets", name)(darts, task, 0)


@every_method
@pytest.mark.parametrize("option", ["batch_size", "batch", "epochs", "repeats"])
def test_options_out_of_range_are_refused(name: str, option: str, make: Make) -> None:
    if option not in SMALL[name]:
        pytest.skip("another method's option")
    with pytest.raises(InputError, match=rf"{option}: must be >= [12], got 0"):
        make(name, **{option: 0})  # type: ignore[call-arg]


# ---------------------------------------------------------------- driving


class Killed(BaseException):
    """What no training may catch."""


@every_method
@pytest.mark.parametrize("at", ["before saving", "while saving"])
def test_a_killed_run_goes_on_from_its_last_checkpoint_to_the_same_end(
    name: str, at: str, make: Make, tmp_path: Path
) -> None:
    drive(make(name), FolderSession(tmp_path / "whole"), every=2)
    expected = FolderSession(tmp_path / "whole").restore()
    assert expected is not None
    steps: list[int] = []

    def dies(step: int, _metrics: Metrics) -> None:
        steps.append(step)
        if at == "before saving" and len(steps) == 2:
            raise Killed

    session = FolderSession(tmp_path / "run", on_report=dies)
    if at == "while saving":
        saved = session._save
        session._save = lambda step, save: saved(step, partial(_half, save) if len(steps) == 2 else save)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        drive(make(name), session, every=2)
    kept_so_far = FolderSession(tmp_path / "run").restore()
    assert kept_so_far is not None
    assert kept_so_far.name == "2"
    drive(make(name), FolderSession(tmp_path / "run", on_report=lambda step, _: steps.append(step)), every=2)
    found = FolderSession(tmp_path / "run").restore()
    assert found is not None
    assert found.name == expected.name
    assert steps[2] == 4  # two steps after what was kept
    for file in ("weights.safetensors", "state.json"):
        assert (found / file).read_bytes() == (expected / file).read_bytes()


def _half(save: Callable[[Path], None], folder: Path) -> None:
    save(folder)
    (folder / "state.json").unlink()
    raise Killed


@every_method
def test_one_checkpoint_is_kept_and_a_finished_training_is_left_alone(name: str, make: Make, tmp_path: Path) -> None:
    training = make(name)
    drive(training, FolderSession(tmp_path), every=3)
    assert [path.name for path in tmp_path.iterdir()] == [str(training.steps)]
    assert drive(make(name), FolderSession(tmp_path), every=3) == {}


def test_a_folder_that_holds_half_a_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"must hold weights\.safetensors and state\.json"):
        read_state(tmp_path)
