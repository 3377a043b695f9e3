from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.bundle import describe
from components.deploy.card import Facts, model_card, provenance
from components.deploy.protocol import parse
from components.encoding import Categorical, Encoder
from components.encodings.image import Image
from components.encodings.text import Text
from components.prepared import Prepared

AUDIT: dict[str, Any] = {
    "verdict": "fail",
    "metric": "equalized_odds",
    "blocking": False,
    "attributes": {
        "sex": {"verdict": "fail", "difference": 0.25, "interval": [0.2, 0.3], "reason": "women fare worse"},
        "race": {"verdict": "inconclusive", "difference": None, "interval": None, "reason": "too few rows"},
    },
}
RUN = {
    "id": "run-1",
    "seeds": [3, 4],
    "metrics": {"test accuracy": {"mean": 0.85, "std": 0.002, "seeds": [0.848, 0.852]}},
}


def facts(fairness: dict[str, Any] = AUDIT, column: str = "job") -> Facts:
    encoder = Encoder((), (Categorical(column, ("cook", "nurse")),))
    return Facts(
        name="jobs",
        prepared=Prepared(Path(), "income", ("<=50K", ">50K"), 1, ("sex", column), encoder, "d" * 64),
        rows={"train": 10, "validation": 20, "test": 30, "audit": 40},
        run=RUN,
        test={"accuracy": 0.86, "auroc": 0.91},
        baseline={"accuracy": 0.76},
        fairness=fairness,
        checks=[],
    )


@pytest.mark.parametrize(
    "line",
    [
        "# jobs",
        "| test | 30 | the figures below |",
        "| accuracy | 0.8600 | 0.7600 |",
        "| auroc | 0.9100 |  |",
        "- test accuracy over seeds: 0.8500 ± 0.0020 (2 seeds)",
        "Verdict: **fail**, by equalized odds on the audit rows.",
        "| sex | fail | 0.250 | 0.200 to 0.300 | women fare worse |",
        "| race | inconclusive |  |  | too few rows |",
        "- The model is given these sensitive columns: `job`.",
        "- The model is not given these sensitive columns: `sex`.",
    ],
)
def test_the_card_tells_the_facts(line: str) -> None:
    assert line in model_card(facts()).splitlines()


def test_a_card_without_audit_says_so() -> None:
    assert "Not audited: no columns were named as sensitive." in model_card(facts({**AUDIT, "attributes": {}}))


def test_a_name_cannot_break_the_card() -> None:
    assert "- The model is given these sensitive columns: `a \\| b ' c`." in model_card(facts(column="a | b\n` c"))


def test_provenance_names_what_was_made_of_what() -> None:
    statement = json.loads(json.dumps(provenance(facts(), {"model.onnx": "a"}, {"prepared data": "b"})))
    assert statement["subject"] == [{"name": "model.onnx", "digest": {"sha256": "a"}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"] == [{"name": "prepared data", "digest": {"sha256": "b"}}]
    assert definition["externalParameters"] == {"name": "jobs", "run": RUN}
    assert statement["predicate"]["runDetails"]["builder"]["version"]["evernas"]


@pytest.mark.parametrize("column", ["job", "it's", 'a "b" \\ %s $HOME `c`', "名"])
@pytest.mark.parametrize("kind", ["row", "text", "image"])
def test_the_command_to_ask_sends_what_the_model_is_given(column: str, kind: str, tmp_path: Path) -> None:
    """Whatever the column is called: a shell runs the command, with a `curl` that shows what it would send."""
    encoder = {
        "row": Encoder((), (Categorical(column, ("cook", "nurse")),)),
        "text": Encoder((), (), (Text(column, 8, ("what", "is"), 0),)),
        "image": Encoder((), (), (Image(column, 8, 8, (0.0,), (1.0,)),)),
    }[kind]
    card = model_card(replace(facts(), prepared=replace(facts().prepared, encoder=encoder)))
    [command] = re.findall(r"^```sh\n(.*)\n```$", card, re.MULTILINE)
    (tmp_path / "image.png").write_bytes(b"\x89PNG" * 30)
    (tmp_path / "curl").write_text('#!/bin/sh\nif [ "$3" = @- ]; then cat; else printf %s "$3"; fi\n')
    (tmp_path / "curl").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    body = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=path, capture_output=True, check=True).stdout
    sent = parse(body, describe("jobs", encoder, ("no", "yes")), 1)
    assert sent.columns == {column: [{"row": "cook", "text": "what is", "image": b"\x89PNG" * 30}[kind]]}
