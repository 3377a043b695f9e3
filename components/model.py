"""A trained model as a folder: `model.json` says how to build it, `weights.safetensors` holds its state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.parts import resolve
from components.spec import Part
from nas_core.errors import InputError, IntegrityError
from nas_core.types import Architecture, Port, Signature

if TYPE_CHECKING:
    from torch import nn


def signature_to_json(signature: Signature) -> dict[str, Any]:
    """Return `signature` as JSON values."""
    return asdict(signature)


def signature_from_json(value: dict[str, Any]) -> Signature:
    """Return the signature that `signature_to_json` wrote."""

    def ports(rows: list[dict[str, Any]]) -> tuple[Port, ...]:
        return tuple(Port(**{**row, "shape": tuple(row["shape"])}) for row in rows)

    return Signature(inputs=ports(value["inputs"]), outputs=ports(value["outputs"]))


def save_model(
    folder: Path, module: nn.Module, *, space: Part, signature: Signature, architecture: Architecture
) -> None:
    """Write `module`'s state and what rebuilds it into `folder`; `model.json` last, so that a half is never read."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").unlink(missing_ok=True)
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    recipe = {
        "space": {"kind": space.kind, **space.options},
        "signature": signature_to_json(signature),
        "architecture": list(architecture),
    }
    (folder / "model.json").write_text(json.dumps(recipe, indent=1), encoding="utf-8")


def load_model(folder: Path) -> nn.Module:
    """Build the module of `folder` and load its weights; on the CPU, in eval mode.

    InputError if there is no whole model, IntegrityError if its files are not what `save_model` wrote.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / "model.json").is_file():
        raise InputError(f"{folder}: no model (model.json is missing); retraining makes one")
    module = _build(folder)
    try:
        module.load_state_dict(load_file(folder / "weights.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise IntegrityError(f"{folder}: weights.safetensors does not fit model.json ({error})") from error
    return module.eval()


def _build(folder: Path) -> nn.Module:
    try:
        recipe = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        space, signature = Part(**recipe["space"]), signature_from_json(recipe["signature"])
        architecture = tuple(recipe["architecture"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder}: model.json is not what was written ({error!r})") from error
    factory, options = resolve("spaces", space)
    module: nn.Module = factory(signature, **options).build(architecture)
    return module


def predict(module: nn.Module, inputs: Sequence[np.ndarray], batch: int = 512) -> np.ndarray:
    """Return class probabilities, float32 (rows, classes), of the logits of `module`, which is on the CPU.

    `inputs` are arrays (rows, ...) in port order; `batch` rows are computed at a time.
    """
    import torch

    parts = []
    with torch.inference_mode():
        for start in range(0, max(1, len(inputs[0])), batch):  # no rows are one empty batch
            logits = module(*(torch.from_numpy(array[start : start + batch]) for array in inputs))
            parts.append(torch.softmax(logits, dim=1).numpy())
    return np.concatenate(parts)
