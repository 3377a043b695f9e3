from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from components.model import load_model, predict, save_model, signature_from_json, signature_to_json
from components.spec import Part
from nas_core import registry
from nas_core.errors import InputError, IntegrityError
from nas_core.types import Port, Signature

SPACE = Part(kind="chain", max_depth=2, widths=[4, 8])
SIGNATURE = Signature(
    inputs=(
        Port(name="numeric", shape=(3,)),
        Port(name="colour", shape=(), dtype="int64", classes=5),
    ),
    outputs=(Port(name="kind", shape=(2,), classes=2),),
)


def rows(count: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 3)).astype(np.float32), rng.integers(0, 5, count)


@pytest.fixture
def model(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A module whose batch statistics and weights are no longer those of a fresh one, and where it was saved."""
    space = registry.load("spaces", "chain")(SIGNATURE, max_depth=2, widths=(4, 8))
    architecture = tuple(len(decision.options) - 1 for decision in space.decisions)
    torch.manual_seed(1)
    module: nn.Module = space.build(architecture)
    module.train()
    module(*(torch.from_numpy(array) for array in rows(64)))
    save_model(tmp_path / "model", module, space=SPACE, signature=SIGNATURE, architecture=architecture)
    return module.eval(), tmp_path / "model"


def test_a_loaded_model_computes_the_same(model: tuple[nn.Module, Path]) -> None:
    module, folder = model
    loaded = load_model(folder)
    assert not loaded.training
    np.testing.assert_array_equal(predict(loaded, rows(10)), predict(module, rows(10)))


def test_predictions_are_probabilities_and_do_not_depend_on_the_batch(model: tuple[nn.Module, Path]) -> None:
    module, _ = model
    found = predict(module, rows(10))
    assert found.shape == (10, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(predict(module, rows(10), batch=3), found, rtol=1e-6)


def test_no_rows_give_no_predictions(model: tuple[nn.Module, Path]) -> None:
    assert predict(model[0], rows(0)).shape == (0, 2)


def test_a_signature_comes_back_from_json() -> None:
    assert signature_from_json(json.loads(json.dumps(signature_to_json(SIGNATURE)))) == SIGNATURE


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    """Two names of one tensor; safetensors alone refuses them."""
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    save_model(tmp_path, module, space=SPACE, signature=SIGNATURE, architecture=())
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["1.weight"], module[0].weight)


@pytest.mark.parametrize("damage", ["missing", "cut", "another model's", "one tensor less"])
def test_weights_that_do_not_fit_are_refused(model: tuple[nn.Module, Path], damage: str) -> None:
    weights = model[1] / "weights.safetensors"
    state = load_file(weights)
    match damage:
        case "missing":
            weights.unlink()
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-8])
        case "another model's":
            save_file({name: torch.zeros(99) for name in state}, weights)
        case _:
            save_file(dict(list(state.items())[1:]), weights)
    with pytest.raises(IntegrityError, match=r"weights.safetensors does not fit model.json"):
        load_model(model[1])


@pytest.mark.parametrize("text", ["", "[]", '{"space": {}}', '{"space": {"kind": "chain"}, "signature": {}}'])
def test_a_recipe_that_is_none_is_refused(model: tuple[nn.Module, Path], text: str) -> None:
    (model[1] / "model.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"model.json is not what was written"):
        load_model(model[1])


def test_a_folder_without_a_whole_model_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model.json is missing"):
        load_model(tmp_path)


def test_a_model_that_is_being_written_over_is_not_taken_for_the_old_one(
    model: tuple[nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two files, new weights would lie beside the old recipe."""

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    module, folder = model
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_model(folder, module, space=SPACE, signature=SIGNATURE, architecture=())
    with pytest.raises(InputError):
        load_model(folder)
