"""Census rows, prepared; networks that learned a little from them; the bundle of one that was promoted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from components.data_prep import datasets
from components.data_prep.stage import prepare
from components.deploy.stage import deploy
from components.model import save_model
from components.prepared import Prepared
from components.spec import DeploySpec, FileSource, Part, Split, TabularTask
from nas_core import registry

NOT_AUDITED: dict[str, Any] = {"verdict": "not audited", "metric": "accuracy", "blocking": False, "attributes": {}}
METRICS = {"test accuracy": {"mean": 0.84, "std": 0.01, "seeds": [0.83, 0.85]}}


@dataclass
class World:
    """Where everything of one deployment lies."""

    data: Path
    model: Path
    champions: Path
    out: Path

    def deploy(self, model: Path | None = None, *, run: str = "run-1", **changes: Any) -> dict[str, Any]:
        """Deploy `model`, the good one by default, as run `run`; `changes` are of the spec, or `fairness`."""
        fairness, waived = changes.pop("fairness", NOT_AUDITED), changes.pop("waived", {})
        return deploy(
            DeploySpec(**changes),
            name="adult-income",
            first_metric="accuracy",
            data=self.data,
            model=model or self.model,
            run={"id": run, "seeds": [0], "metrics": METRICS},
            fairness=fairness,
            champions=self.champions,
            out=self.out,
            waived=waived,
        )


def prepare_census(folder: Path, drop: tuple[str, ...] = ()) -> Prepared:
    """Prepare 6,000 rows of the census data without the columns `drop`, a quarter for each split."""
    frame = pd.read_parquet(Path(str(datasets.__path__[0])) / "adult.parquet").head(6000)
    frame.to_parquet(folder / "census.parquet")
    task = TabularTask(
        kind="tabular",
        source=FileSource(kind="parquet", path="census.parquet"),
        target="income",
        drop=("split", *drop),
        sensitive=("sex", "race"),
        split=Split(validation=0.25, audit=0.25, test=0.25),
    )
    prepare(task, 0, folder, folder / "data")
    return Prepared.load(folder / "data")


CHAIN = Part(kind="chain", widths=[16], normalisations=["batch"], numeric=["linear"], max_depth=1)


def train_network(
    prepared: Prepared, folder: Path, steps: int = 25, part: Part = CHAIN, most: int | None = None
) -> Path:
    """Write a network of the space `part` to `folder`, after so many steps on its first `most` training rows."""
    torch.manual_seed(0)
    space = registry.load("spaces", part.kind)(prepared.signature, **part.options)
    architecture = (0,) * len(space.decisions)
    module = space.build(architecture)
    inputs, targets = prepared.arrays("train")
    tensors, target = [torch.from_numpy(array[:most]) for array in inputs], torch.from_numpy(targets[:most])
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(*tensors), target).backward()
        optimiser.step()
    save_model(folder, module, space=part, signature=prepared.signature, architecture=architecture)
    return folder


@pytest.fixture
def census() -> Callable[..., Prepared]:
    return prepare_census


@pytest.fixture(scope="session")
def train() -> Callable[..., Path]:
    return train_network


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_census(tmp_path_factory.mktemp("census"))


@pytest.fixture(scope="session")
def trained(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_network(prepared, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def world(prepared: Prepared, trained: Path, tmp_path: Path) -> World:
    """A deployment without a champion."""
    return World(prepared.folder, trained, tmp_path / "champions", tmp_path / "out")


@pytest.fixture
def deployed(world: World, bundle: Path) -> World:
    """A deployment whose champion is `bundle`."""
    shutil.copytree(bundle.parents[1], world.champions)
    return world


@pytest.fixture(scope="session")
def promoted(prepared: Prepared, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of deploying the good model where there was no champion."""
    folder = tmp_path_factory.mktemp("promoted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERNAS_SIGNING_KEY", str(folder / "signing.pem"))
        patch.setenv("EVERNAS_ANCHORS", str(folder / "anchors"))
        return World(prepared.folder, trained, folder / "champions", folder / "out").deploy()


@pytest.fixture(scope="session")
def bundle(promoted: dict[str, Any]) -> Path:
    """The promoted bundle, for tests that change nothing in it."""
    assert promoted["decision"] == "promoted", promoted["reason"]
    return Path(promoted["bundle"])
