"""The stage that asks whether the model treats groups of people alike, on rows that nothing before it has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.fairness.groups import Counts, as_groups, attributes, count
from components.fairness.verdict import Judgement, judge, label, large_enough, least_class_rows, overall
from components.model import load_model, predict
from components.prepared import Prepared
from components.spec import FairnessSpec
from nas_core.errors import InputError


def audit(config: FairnessSpec, data: Path, model: Path, seed: int, out: Path) -> dict[str, Any]:
    """Audit the model in folder `model` on the audit split of the prepared data in `data`.

    Writes `fairness.json` into `out`, with the counts and rates of all groups, and returns its short form: the
    verdict (`pass`, `fail`, `inconclusive`, or `not audited` without sensitive columns), the verdict per attribute,
    and whether the audit blocks the model. InputError if bins name a column that cannot be cut, or if the metric
    needs a favourable class and the task has none.
    """
    prepared = Prepared.load(data)
    if config.metric != "accuracy" and prepared.positive is None and prepared.sensitive:
        raise InputError(
            f"fairness.metric: {config.metric} needs a favourable class; set task.positive to one of "
            f"{', '.join(prepared.classes)}, or the metric to accuracy"
        )
    inputs, targets = prepared.arrays("audit")
    predicted = predict(load_model(model), inputs).argmax(axis=1) if prepared.sensitive else targets
    groups = as_groups(prepared.frame("audit")[list(prepared.sensitive)], config.bins)
    audited = attributes(prepared.sensitive, config.intersections)
    rng = np.random.default_rng(seed)
    found: dict[str, tuple[list[Counts], Judgement]] = {}
    for attribute in audited:
        counts = count(targets, predicted, prepared.positive, groups, attribute)
        found[" & ".join(attribute)] = counts, judge(counts, config, len(audited), rng)
    verdict = overall([judgement.verdict for _, judgement in found.values()])
    head = {"verdict": verdict, "metric": config.metric, "blocking": config.action == "block" and verdict == "fail"}
    full = {
        **head,
        **config.model_dump(mode="json", include={"max_difference", "confidence", "min_group"}),
        "min_class_rows": least_class_rows(config),
        "positive": None if prepared.positive is None else prepared.classes[prepared.positive],
        "rows": len(targets),
        "attributes": {
            name: {**_brief(judgement), "groups": [_describe(c, config) for c in counts]}
            for name, (counts, judgement) in found.items()
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "fairness.json").write_text(json.dumps(full, indent=1), encoding="utf-8")
    return {**head, "attributes": {name: _brief(judgement) for name, (_, judgement) in found.items()}}


def _brief(judgement: Judgement) -> dict[str, Any]:
    return {
        "verdict": judgement.verdict,
        "difference": judgement.difference,
        "interval": None if judgement.interval is None else list(judgement.interval),
        "worst_groups": list(judgement.worst_groups or ()),
        "reason": judgement.reason,
    }


def _describe(counts: Counts, config: FairnessSpec) -> dict[str, Any]:
    return {
        "group": label(counts),
        "n": counts.rows,
        "positives": counts.positives,
        "selection_rate": _share(counts.selected, counts.rows),
        "tpr": _share(counts.hits, counts.positives),
        "fpr": _share(counts.false_alarms, counts.negatives),
        "accuracy": _share(counts.correct, counts.rows),
        "judged": large_enough(counts, config),
    }


def _share(part: int | None, whole: int | None) -> float | None:
    """Return the share, or None where there are no rows to take it of."""
    return None if part is None or not whole else part / whole
