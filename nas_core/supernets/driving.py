"""A training of a supernet under a session: checkpoints every few steps, and going on from them after any end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file

from nas_core.checkpoints import sync_tree
from nas_core.errors import InputError
from nas_core.interfaces import Session, State, SupernetTraining
from nas_core.store import make_folder, sync_folder
from nas_core.types import Metrics

WEIGHTS, VALUES = "weights.safetensors", "state.json"


def drive(training: SupernetTraining, session: Session, every: int) -> Metrics:
    """Advance `training` to its last step and return the last metrics; {} if it was there already.

    Goes on from the session's checkpoint, if that is further. Every `every` steps, and at the end, the metrics are
    reported and the state is saved; a session that says stop ends it there. InputError for a checkpoint of another
    space, method or version.
    """
    folder = session.restore()
    if folder is not None:
        state = read_state(folder)
        if state.values["step"] > training.step:
            training.load(state)
    metrics: Metrics = {}
    while training.step < training.steps:
        metrics = training.advance()
        due = training.step % every == 0 or training.step == training.steps
        if due and session.report(training.step, metrics, partial(write_state, training.state())):
            break
    return metrics


def write_state(state: State, folder: Path) -> None:
    """Write `state` into `folder`: the tensors, and last what they are."""
    # Cloned, because safetensors refuses tensors that share their memory.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.tensors.items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / VALUES).write_text(json.dumps(dict(state.values)), encoding="utf-8")


def read_state(folder: Path) -> State:
    """Return what `write_state` wrote to `folder`; InputError if it is not whole."""
    if not (folder / VALUES).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(
            f"supernet: {folder} must hold {WEIGHTS} and {VALUES}, as a training of a supernet leaves them"
        )
    values = json.loads((folder / VALUES).read_text(encoding="utf-8"))
    return State(tensors=load_file(folder / WEIGHTS), values=values)


class FolderSession:
    """See `nas_core.interfaces.Session`: checkpoints are folders `<root>/<step>`, whole or absent, the newest kept.

    `on_report` is told every report, before its checkpoint is saved.
    """

    def __init__(
        self, root: Path, device: str = "cpu", on_report: Callable[[int, Metrics], None] = lambda _step, _metrics: None
    ) -> None:
        self._root = root.absolute()
        self._device = device
        self._on_report = on_report

    @property
    def device(self) -> str:
        """The torch device to compute on."""
        return self._device

    def report(self, step: int, metrics: Metrics, save: Callable[[Path], None] | None = None) -> bool:
        """Tell the report and keep the checkpoint; never says stop."""
        self._on_report(step, metrics)
        if save is not None:
            self._save(step, save)
        return False

    def restore(self, number: int | None = None) -> Path | None:  # noqa: ARG002  there is one training only
        """Return the newest checkpoint, None if there is none."""
        found = [path for path in self._steps() if (path / VALUES).is_file()]
        return max(found, key=lambda path: int(path.name), default=None)

    def _save(self, step: int, save: Callable[[Path], None]) -> None:
        make_folder(self._root)
        draft, final = self._root / f".{step}", self._root / str(step)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        save(draft)
        sync_tree(draft)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        sync_folder(self._root)
        for other in self._steps():
            if other != final:
                shutil.rmtree(other)

    def _steps(self) -> list[Path]:
        return [path for path in (self._root.iterdir() if self._root.is_dir() else ()) if path.name.isdecimal()]
