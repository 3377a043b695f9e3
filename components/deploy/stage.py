"""The stage that replaces the champion if the challenger passes every gate and is provably better."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from components import bundle
from components.backends.signing import load_signer
from components.champion import Promote, bundle_folder, incumbent, promote
from components.deploy import gates
from components.deploy.card import Facts, model_card, provenance
from components.deploy.challenger import Challenger, measure
from components.deploy.export import NotExportableError
from components.deploy.gates import Gate
from components.deploy.protocol import as_inputs
from components.deploy.quality import Comparison, compare, metrics
from components.deploy.rival import class_shares, find_rival
from components.deploy.smoke import serving
from components.prepared import SPLITS, Prepared
from components.spec import DeploySpec

Decision = Literal["promoted", "kept", "blocked"]
_SERVED = 16
"""Raw rows that the started server is asked about."""


def deploy(
    config: DeploySpec,
    *,
    name: str,
    first_metric: str,
    data: Path,
    model: Path,
    run: Mapping[str, Any],
    fairness: Mapping[str, Any],
    champions: Path,
    out: Path,
    before_promotion: Callable[[str, str | None], object] = lambda _digest, _previous: None,
    promote: Promote = promote,
    waived: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Export the model in folder `model`, take it through the gates, and make it the champion if it deserves that.

    `first_metric` is the first objective's, by which challenger and champion are compared on the test rows. `run` is
    what the run knows of itself: its `id`, and what goes into card and provenance (see `card.Facts`). `fairness` is
    the audit's result. The bundle is written to `out/bundle`, and to `champions` if it is promoted. The decision is

    - `blocked`: a gate failed that every model has to pass;
    - `kept`: the challenger is not provably better than the champion, as it often happens;
    - `promoted`: the pointer in `champions` names the challenger; otherwise `champions` is as it was.

    `before_promotion` is called with the digests of challenger and champion right before the pointer is changed, to
    put that on record; `promote` changes it, which is more than a file where the champions lie in a store. `waived` has
    the gates of `gates.WAIVABLE` that somebody lets the challenger pass, and what was said to that. The same run may
    be deployed again, with the same answer. IntegrityError if the champion's bundle was changed, FencedError if another
    run promoted its own meanwhile.
    """
    prepared = Prepared.load(data)
    over = incumbent(champions, run["id"])
    rival = find_rival(prepared, champions, over)
    try:
        challenger = measure(prepared, model, config.max_parity_error)
    except NotExportableError as error:
        unknown = dict.fromkeys(("digest", "bundle", "size_mb", "latency_ms", "parity_error", "comparison"))
        return {**_answer([gates.exported(str(error))]), **unknown}
    _, targets = prepared.arrays("test")
    comparison = compare(
        first_metric, prepared.task(), challenger.probabilities, rival.probabilities, targets, config.confidence
    )
    checks = [challenger.parity, *_limits(config, challenger, comparison), gates.fairness(fairness)]
    checks.append(gates.better(rival, comparison, config.confidence))
    checks = [gates.waived(gate, waived) for gate in checks]
    overruled = [gate for gate in checks if gate.gate in waived]
    contents = _contents(name, prepared, model, run, fairness, challenger, overruled)
    folder = out / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    digest = bundle.write(folder, contents, load_signer())
    if _decide(checks) == "promoted":
        checks.append(_served(folder, name, prepared, challenger, config.max_parity_error))
    if _decide(checks) == "promoted":
        folder = bundle_folder(champions, digest)
        bundle.write(folder, contents, load_signer())
        promote(champions, digest, run["id"], over, lambda: before_promotion(digest, over))
    return {
        **_answer(checks),
        "digest": digest,
        "bundle": str(folder),
        "size_mb": len(challenger.onnx) / gates.MEGABYTE,
        "latency_ms": dict(zip(("median", "p95"), challenger.latency_ms, strict=True)),
        "parity_error": challenger.parity.value,
        "comparison": {
            **comparison._asdict(),
            "against": "champion" if rival.is_champion else "class shares",
            "champion": rival.champion,
            "reason": rival.reason,
        },
    }


def _limits(config: DeploySpec, challenger: Challenger, comparison: Comparison) -> list[Gate]:
    found = [
        gates.size(challenger.onnx, config.max_size_mb),
        gates.latency(*challenger.latency_ms, config.max_latency_ms),
    ]
    if config.min_metric is not None:
        found.append(gates.least(comparison.metric, comparison.challenger, config.min_metric))
    return found


def _served(folder: Path, name: str, prepared: Prepared, challenger: Challenger, tolerance: float) -> Gate:
    rows = prepared.frame("test").head(_SERVED).astype(object)
    columns = {str(column): values.where(values.notna(), None).tolist() for column, values in rows.items()}
    expected = challenger.probabilities[:_SERVED]
    return serving(folder, name, as_inputs(prepared.encoder, columns), expected, tolerance)


def _decide(checks: Sequence[Gate]) -> Decision:
    failed = {gate.gate for gate in checks if not gate.passed}
    if not failed:
        return "promoted"
    return "kept" if failed == {gates.CHAMPION} else "blocked"


def _answer(checks: Sequence[Gate]) -> dict[str, Any]:
    decision = _decide(checks)
    failed = "; ".join(f"{gate.gate}: {gate.text}" for gate in checks if not gate.passed)
    comparison = "".join(gate.text for gate in checks if gate.gate in (gates.CHAMPION, gates.BASELINE))
    reason = failed if decision == "blocked" else comparison
    return {"decision": decision, "reason": reason, "gates": [asdict(gate) for gate in checks]}


def _contents(
    name: str,
    prepared: Prepared,
    model: Path,
    run: Mapping[str, Any],
    fairness: Mapping[str, Any],
    challenger: Challenger,
    overruled: Sequence[Gate],
) -> dict[str, bytes]:
    """Return the files of the bundle; the same for the same run, whenever and wherever it is deployed."""
    onnx, encoder = challenger.onnx, prepared.encoder
    made = {
        bundle.MODEL: onnx,
        bundle.ENCODER: _json(encoder.to_json()),
        bundle.SIGNATURE: _json(bundle.describe(name, encoder, prepared.classes)),
        bundle.PROFILE: prepared.profile_path.read_bytes(),
    }
    materials = {"prepared data": prepared.digest}
    materials |= {path.name: _sha256(path.read_bytes()) for path in sorted(model.iterdir()) if path.is_file()}
    task, targets = prepared.task(), {split: prepared.arrays(split)[1] for split in SPLITS}
    facts = Facts(
        name=name,
        prepared=prepared,
        rows={split: len(each) for split, each in targets.items()},
        run=run,
        test=metrics(task, challenger.probabilities, targets["test"]),
        baseline=metrics(task, class_shares(prepared), targets["test"]),
        fairness=fairness,
        checks=[challenger.parity, gates.size(onnx, None), *overruled],
    )
    statement = provenance(facts, {file: _sha256(data) for file, data in made.items()}, materials)
    return {**made, bundle.CARD: model_card(facts).encode(), bundle.PROVENANCE: _json(statement)}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
