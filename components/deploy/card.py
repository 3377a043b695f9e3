"""What a bundle says of itself: a model card for people, and a provenance statement for scripts. Facts only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from components.deploy.gates import Gate
from components.deploy.wording import asked_with, how_to_ask, limits, plain
from components.prepared import Prepared

_VERSIONS = ("evernas", "torch", "onnx", "onnxscript", "onnxruntime", "numpy", "scikit-learn", "fairlearn")


@dataclass(frozen=True)
class Facts:
    """All that card and provenance are made of; nothing that differs when the same run is deployed again.

    `run` holds what the run knows of itself: its `id`, whatever else belongs into the provenance, and under `metrics`,
    if it is there, figures over all trained seeds, name -> {"mean", "std", "seeds"}. `test` are the metrics of the
    exported model, `baseline` those of the classes' shares, on `rows["test"]` rows.
    """

    name: str
    prepared: Prepared
    rows: Mapping[str, int]
    run: Mapping[str, Any]
    test: Mapping[str, float]
    baseline: Mapping[str, float]
    fairness: Mapping[str, Any]
    checks: Sequence[Gate]


def model_card(facts: Facts) -> str:
    """Return the model card, in Markdown."""
    parts = [*_purpose(facts), *_data(facts), *_figures(facts), *_fairness(facts), *_limits(facts)]
    return "\n\n".join([*parts, *how_to_ask(facts.name, facts.prepared)]) + "\n"


def provenance(facts: Facts, files: Mapping[str, str], materials: Mapping[str, str]) -> dict[str, Any]:
    """Return an in-toto statement with a SLSA provenance predicate, version 1.

    `files` are what was made and `materials` what it was made of, each name -> SHA-256.
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_resource(name, digest) for name, digest in files.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:evernas:deploy:1",
                "externalParameters": {"name": facts.name, "run": dict(facts.run)},
                "resolvedDependencies": [_resource(name, digest) for name, digest in materials.items()],
            },
            "runDetails": {
                "builder": {"id": "urn:evernas:deploy", "version": _versions()},
                "metadata": {"invocationId": facts.run["id"]},
            },
        },
    }


def _resource(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _purpose(facts: Facts) -> list[str]:
    prepared = facts.prepared
    what = (
        f"Predicts the probability of each class of `{plain(prepared.target)}` ({_list(prepared.classes)}) for "
        f"{asked_with(prepared.encoder)}."
    )
    whence = (
        f"The network was found by architecture search and trained in run `{facts.run['id']}`. It is meant for rows of "
        "the source that the figures below were measured on; how it does on others is not known."
    )
    return [f"# {facts.name}", what, whence]


def _data(facts: Facts) -> list[str]:
    uses = {
        "train": "training",
        "validation": "choosing architecture and seed",
        "test": "the figures below",
        "audit": "the fairness audit",
    }
    rows = [(split, facts.rows[split], use) for split, use in uses.items()]
    return [
        "## Data",
        f"Prepared data `{facts.prepared.digest}`. The search saw neither test nor audit rows.",
        _table(("split", "rows", "used for"), rows),
    ]


def _figures(facts: Facts) -> list[str]:
    rows = [
        (name, f"{value:.4f}", f"{facts.baseline[name]:.4f}" if name in facts.baseline else "")
        for name, value in facts.test.items()
    ]
    lines = [f"{gate.gate}: {gate.text}" for gate in facts.checks]
    lines += [f"{name} over seeds: {_spread(value)}" for name, value in facts.run.get("metrics", {}).items()]
    return [
        "## Figures",
        f"On {facts.rows['test']} test rows, of the exported model.",
        _table(("metric", "this model", "class shares alone"), rows),
        "\n".join(f"- {line}" for line in lines),
    ]


def _spread(value: Mapping[str, Any]) -> str:
    return f"{value['mean']:.4f} ± {value['std']:.4f} ({len(value['seeds'])} seeds)"


def _fairness(facts: Facts) -> list[str]:
    audit = facts.fairness
    if not audit["attributes"]:
        return ["## Fairness", "Not audited: no columns were named as sensitive."]
    rows = [
        (name, each["verdict"], _number(each["difference"]), _interval(each["interval"]), each["reason"])
        for name, each in audit["attributes"].items()
    ]
    verdict = f"Verdict: **{audit['verdict']}**, by {audit['metric'].replace('_', ' ')} on the audit rows."
    return ["## Fairness", verdict, _table(("attribute", "verdict", "difference", "interval", "reason"), rows)]


def _limits(facts: Facts) -> list[str]:
    prepared = facts.prepared
    found = [
        *limits(prepared.encoder),
        "Probabilities are the network's softmax; they were not calibrated.",
    ]
    if prepared.sensitive:
        used = [name for name in prepared.sensitive if name in {c.name for c in prepared.encoder.columns}]
        unused = [name for name in prepared.sensitive if name not in used]
        if used:
            found.append(f"The model is given these sensitive columns: {_list(used)}.")
        if unused:
            found.append(f"The model is not given these sensitive columns: {_list(unused)}.")
    return ["## Limits", "\n".join(f"- {limit}" for limit in found)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{plain(name)}`" for name in names)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(plain(str(cell)) for cell in line) + " |" for line in lines)
