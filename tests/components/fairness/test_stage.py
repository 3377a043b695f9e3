from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.data_prep import datasets
from components.encoding import Column, Encoder
from components.fairness.stage import audit
from components.model import save_model
from components.prepared import SPLITS, Prepared, write
from components.spec import Bins, FairnessSpec, Part
from nas_core import registry
from nas_core.errors import InputError

CLASSES = ("<=50K", ">50K")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Census rows: 2,000 to train on, 5,000 to audit."""
    frame = pd.read_parquet(Path(str(datasets.__path__[0])) / "adult.parquet")
    encoder = Encoder.fit(frame[:2000], [Column("education-num", "numeric"), Column("relationship", "categorical")])
    frames = {split: frame[:2000] if split != "audit" else frame[2000:7000] for split in SPLITS}
    arrays = {
        split: (encoder.encode(part), (part["income"] == CLASSES[1]).to_numpy(np.int64))
        for split, part in frames.items()
    }
    folder = tmp_path_factory.mktemp("census")
    return write(Prepared(folder, "income", CLASSES, 1, ("sex", "race", "age"), encoder), arrays, frames, {})


@pytest.fixture(scope="module")
def model(prepared: Prepared) -> Path:
    """A small network that has learned that husbands earn more: unfair to women."""
    torch.manual_seed(0)
    part = Part(kind="chain", widths=[8], max_depth=1, numeric=["linear"])
    space = registry.load("spaces", "chain")(prepared.signature, **part.options)
    architecture = (0,) * len(space.decisions)
    module = space.build(architecture)
    inputs, targets = prepared.arrays("train")
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        logits = module(*(torch.from_numpy(array) for array in inputs))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets)).backward()
        optimiser.step()
    folder = prepared.folder / "model"
    save_model(folder, module, space=part, signature=prepared.signature, architecture=architecture)
    return folder


def altered(prepared: Prepared, folder: Path, **changes: object) -> Path:
    """Write the same data with another schema, and return its folder."""
    fields = {split: prepared.arrays(split) for split in SPLITS}
    frames = {split: prepared.frame(split) for split in SPLITS}
    write(replace(prepared, folder=folder, **changes), fields, frames, {})
    return folder


def test_an_unfair_model_fails_and_the_file_has_every_group(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    result = audit(FairnessSpec(metric="demographic_parity"), prepared.folder, model, 0, tmp_path)
    assert result["verdict"] == "fail"
    assert result["attributes"]["sex"]["verdict"] == "fail"
    assert sorted(result["attributes"]["sex"]["worst_groups"]) == ["Female", "Male"]
    assert list(result["attributes"]) == [
        *["sex", "race", "age", "sex & race", "sex & age", "race & age", "sex & race & age"]
    ]
    full = json.loads((tmp_path / "fairness.json").read_text())
    frame = prepared.frame("audit")
    groups = {each["group"]: each for each in full["attributes"]["race"]["groups"]}
    assert {name: each["n"] for name, each in groups.items()} == frame["race"].value_counts().to_dict()
    assert [name for name, each in groups.items() if not each["judged"]] == ["Amer-Indian-Eskimo", "Other"]
    for key in ("verdict", "metric", "blocking"):
        assert full[key] == result[key]


def test_rates_are_those_of_the_rows(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    audit(FairnessSpec(intersections=False), prepared.folder, model, 0, tmp_path)
    groups = json.loads((tmp_path / "fairness.json").read_text())["attributes"]["sex"]["groups"]
    women = prepared.frame("audit")["sex"] == "Female"
    positive = prepared.arrays("audit")[1][women] == 1
    female = next(each for each in groups if each["group"] == "Female")
    assert female["positives"] == positive.sum()
    assert female["selection_rate"] == pytest.approx(
        (female["tpr"] * positive.sum() + female["fpr"] * (~positive).sum()) / len(positive)
    )


def test_the_same_seed_gives_the_same_result(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    results = [audit(FairnessSpec(), prepared.folder, model, 7, tmp_path / str(i)) for i in range(2)]
    assert results[0] == results[1]


@pytest.mark.parametrize(("action", "blocking"), [("report", False), ("block", True)])
def test_a_failed_audit_blocks_only_if_the_spec_says_so(
    prepared: Prepared, model: Path, tmp_path: Path, action: str, blocking: bool
) -> None:
    config = FairnessSpec(metric="demographic_parity", intersections=False, action=action)
    result = audit(config, prepared.folder, model, 0, tmp_path)
    assert (result["verdict"], result["blocking"]) == ("fail", blocking)


def test_bins_of_the_spec_make_the_groups(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    config = FairnessSpec(bins=(Bins(column="age", edges=(25.0, 45.0)),), intersections=False)
    audit(config, prepared.folder, model, 0, tmp_path)
    groups = json.loads((tmp_path / "fairness.json").read_text())["attributes"]["age"]["groups"]
    assert [each["group"] for each in groups] == ["< 25", "25 to 45", ">= 45"]


def test_without_sensitive_columns_nothing_is_audited(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    data = altered(prepared, tmp_path / "data", sensitive=())
    result = audit(FairnessSpec(action="block"), data, model, 0, tmp_path)
    assert result == {"verdict": "not audited", "metric": "equalized_odds", "blocking": False, "attributes": {}}
    assert (tmp_path / "fairness.json").is_file()


def test_a_metric_that_needs_a_favourable_class_says_so(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    data = altered(prepared, tmp_path / "data", positive=None)
    with pytest.raises(
        InputError, match=r"fairness\.metric: equalized_odds needs a favourable class; set task\.positive"
    ):
        audit(FairnessSpec(), data, model, 0, tmp_path)


def test_accuracy_needs_no_favourable_class(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    data = altered(prepared, tmp_path / "data", positive=None)
    result = audit(FairnessSpec(metric="accuracy", intersections=False), data, model, 0, tmp_path)
    assert result["attributes"]["sex"]["difference"] is not None
