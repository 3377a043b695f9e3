"""What a spec says about altering rows in training reaches the training, in the search and in retraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data_prep.stage import prepare
from components.retrain.stage import retrain
from components.search.stage import search
from components.spec import Spec
from components.spec_task import AudioTask, ImageTask, TabularTask, TextTask
from nas_core import registry
from nas_core.ledger import Ledger
from nas_core.store import MemoryStore


@pytest.mark.parametrize("model", [AudioTask, ImageTask, TabularTask, TextTask])
def test_a_task_can_set_all_options_of_its_kind_and_has_their_defaults(model: Any) -> None:
    source = {"kind": "builtin", "name": "x"}
    task = model.model_validate({"kind": kind(model), "source": source, "target": "y"})
    options = registry.options(registry.load("tasks", task.kind))
    assert task.augmentation == {option.name: option.default for option in options}


def kind(model: Any) -> str:
    return str(model.model_fields["kind"].annotation.__args__[0])


def spec(path: Path, *, flip: bool) -> Spec:
    return Spec.model_validate(
        {
            "name": "sides",
            "task": {"kind": "image", "source": {"kind": "npz", "path": str(path)}, "target": "y", "flip": flip},
            "search": {
                "space": {"kind": "nas-bench-201", "channels": 4, "cells": 1},
                "strategy": {"kind": "random"},
                "estimator": {"kind": "training", "epochs": 6, "batch_size": 16, "learning_rate": 0.02},
                "objectives": ({"metric": "accuracy", "goal": "max"},),
                "budget": {"trials": 1},
                "runner": {"kind": "local"},
            },
            "retrain": {"seeds": 1},
        }
    )


def test_mirrored_images_do_not_tell_left_from_right(tmp_path: Path) -> None:
    """A ramp that is bright on its left or on its right: mirrored, one is the other, and nothing can be learned."""
    rng = np.random.default_rng(0)
    side = np.arange(240) % 2
    images = rng.integers(0, 60, (240, 8, 8))
    ramp = np.linspace(0, 190, 8).astype(int)
    images += np.where(side[:, None, None] == 0, ramp, ramp[::-1])
    np.savez(tmp_path / "sides.npz", x=images.astype(np.uint8), y=side)
    losses = {}
    for flip in (False, True):
        given = spec(tmp_path / "sides.npz", flip=flip)
        out = tmp_path / str(flip)
        prepare(given.task, 0, tmp_path, out / "data")
        ledger = Ledger(MemoryStore())
        found = search(given, out / "data", ledger, out / "search", name="sides", on_trial=lambda *_: None)
        final = retrain(given, tuple(found["architecture"]), out / "data", out / "retrain", lambda *_: None)
        losses[flip] = (found["metrics"]["train_loss"], final["seeds"][0]["curve"][-1][1]["train_loss"])
    assert max(losses[False]) < 0.3
    assert min(losses[True]) > 0.5
