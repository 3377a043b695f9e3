from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.model import load_model, predict
from components.prepared import Prepared
from components.retrain.stage import retrain
from components.spec import Spec
from nas_core import registry
from nas_core.errors import EvernasError, InputError
from nas_core.estimators import training
from nas_core.types import Metrics

Tumour = Callable[..., Spec]


@pytest.fixture(scope="module")
def architecture(tumour: Tumour, prepared: Path) -> tuple[int, ...]:
    """The space's largest network."""
    from components.parts import build_space

    space = build_space(tumour(), Prepared.load(prepared).signature)
    return tuple(len(decision.options) - 1 for decision in space.decisions)


@pytest.fixture(scope="module")
def trained(
    tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], list[tuple[int, int, Metrics]]]:
    """The folder, the result, and what was told meanwhile."""
    told: list[tuple[int, int, Metrics]] = []
    folder = tmp_path_factory.mktemp("retrain")
    found = retrain(tumour(), architecture, prepared, folder, lambda *at: told.append(at))
    return folder, found, told


Trained = tuple[Path, dict[str, Any], list[tuple[int, int, Metrics]]]


def test_every_seed_is_trained_anew_and_leaves_a_model(trained: Trained, prepared: Path) -> None:
    folder, found, _ = trained
    assert [entry["seed"] for entry in found["seeds"]] == [3, 4]  # the spec's seed, and on from it
    (inputs, targets) = Prepared.load(prepared).arrays("test")
    outputs = [predict(load_model(folder / f"seed-{seed}"), inputs) for seed in (3, 4)]
    assert not np.array_equal(outputs[0], outputs[1])
    for entry, output in zip(found["seeds"], outputs, strict=True):
        assert entry["test"]["accuracy"] == np.mean(output.argmax(axis=1) == targets)


def test_the_seed_that_is_best_on_validation_is_deployed(trained: Trained) -> None:
    _, found, _ = trained
    accuracies = [entry["validation"]["accuracy"] for entry in found["seeds"]]
    assert accuracies[found["best"]] == max(accuracies)
    assert found["model"] == f"seed-{found['seeds'][found['best']]['seed']}"
    assert found["params"] == found["seeds"][found["best"]]["validation"]["params"]


def test_the_spread_is_over_all_seeds(trained: Trained) -> None:
    _, found, _ = trained
    accuracies = [entry["test"]["accuracy"] for entry in found["seeds"]]
    assert found["test_accuracy"] == {
        "mean": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies),
        "seeds": accuracies,
    }


def test_curves_are_kept_and_told(trained: Trained) -> None:
    _, found, told = trained
    assert [(seed, epoch) for seed, epoch, _ in told] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    curves = [point for entry in found["seeds"] for point in entry["curve"]]
    assert curves == [[epoch, metrics] for _, epoch, metrics in told]


def test_a_result_is_json_with_finite_numbers(trained: Trained) -> None:
    _, found, _ = trained
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_baseline_stands_beside_it(trained: Trained) -> None:
    _, found, _ = trained
    assert found["baseline"]["name"] == "HistGradientBoostingClassifier"
    assert 0.9 < found["baseline"]["test_accuracy"] <= 1


def test_one_seed_has_no_spread(tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path: Path) -> None:
    spec = tumour().model_copy(update={"retrain": tumour().retrain.model_copy(update={"seeds": 1})})
    found = retrain(spec, architecture, prepared, tmp_path, lambda *_: None)
    assert found["test_accuracy"]["std"] == 0.0


def test_the_same_seeds_give_the_same_models_whatever_the_test_rows_say(
    trained: Trained, tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path: Path
) -> None:
    """With the test labels turned around, figures change, but neither weights nor choice; the audit is not needed."""
    folder, found, _ = trained
    data = Path(shutil.copytree(prepared, tmp_path / "data"))
    (data / "audit.npz").unlink()
    with np.load(data / "test.npz", allow_pickle=False) as arrays:
        turned = {**arrays, "target": 1 - arrays["target"]}
    np.savez(data / "test.npz", allow_pickle=False, **turned)
    other = retrain(tumour(), architecture, data, tmp_path / "out", lambda *_: None)
    assert other["best"] == found["best"]
    for entry, before in zip(other["seeds"], found["seeds"], strict=True):
        assert entry["test"]["accuracy"] == pytest.approx(1 - before["test"]["accuracy"])
        weights = f"seed-{entry['seed']}/weights.safetensors"
        assert (tmp_path / "out" / weights).read_bytes() == (folder / weights).read_bytes()


def test_the_options_of_retraining_replace_those_of_the_search(
    tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path: Path
) -> None:
    shorter = tumour().retrain.model_copy(update={"seeds": 1, "options": {"epochs": 1}})
    spec = tumour().model_copy(update={"retrain": shorter})
    found = retrain(spec, architecture, prepared, tmp_path, lambda *_: None)
    assert len(found["seeds"][0]["curve"]) == 1


def test_an_objective_that_only_the_search_could_look_up_has_no_say(
    tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path: Path, trained: Trained
) -> None:
    looked_up = {"metric": "latency_ms/pixel3", "goal": "min", "limit": 1}
    spec = tumour(
        objectives=[looked_up, {"metric": "accuracy", "goal": "max"}],
        estimator={"kind": "tabular", "path": "table.npz"},
    )
    trainer = tumour().search.estimator
    spec = spec.model_copy(update={"retrain": spec.retrain.model_copy(update={"estimator": trainer})})
    found = retrain(spec, architecture, prepared, tmp_path, lambda *_: None)
    assert found["best"] == trained[1]["best"]


def test_a_training_that_diverges_names_its_seed_and_what_to_do(
    tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path: Path
) -> None:
    diverges = {"kind": "training", "epochs": 1, "learning_rate": 1e30}
    with pytest.raises(EvernasError, match=r"seed 3 diverged \(.*\); set a lower learning_rate"):
        retrain(tumour(estimator=diverges), architecture, prepared, tmp_path, lambda *_: None)


def test_an_estimator_that_trains_nothing_is_refused(
    tumour: Tumour, prepared: Path, architecture: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Guess:
        def __init__(self, space: object, task: object, seed: int) -> None: ...

        def estimate(self, trial: object, session: object) -> Metrics:
            raise NotImplementedError

    monkeypatch.setattr(training, "Guess", Guess, raising=False)
    monkeypatch.setitem(registry.targets("estimators"), "guess", "nas_core.estimators.training:Guess")
    spec = tumour(estimator={"kind": "guess"})
    with pytest.raises(InputError, match=r"search.estimator.kind: 'guess' trains nothing that could be deployed"):
        retrain(spec, architecture, prepared, tmp_path, lambda *_: None)
