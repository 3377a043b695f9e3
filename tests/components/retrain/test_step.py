from __future__ import annotations

from components.audit import verify_folder
from components.progress import read_events
from components.run import Run
from nas_core.ledger import Ledger


def test_its_progress_counts_the_epochs_of_all_seeds(stepped: Run) -> None:
    events = [event.data for event in read_events(stepped.progress.path)[0] if event[1:3] == ("retrain", "advance")]
    assert [(data["done"], data["total"]) for data in events] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    last = stepped.results()["retrain"]["seeds"][1]["curve"][1][1]["accuracy"]
    assert events[-1]["text"] == f"seed 2 epoch 2: accuracy {last:.5g}"


def test_the_models_are_on_record(stepped: Run) -> None:
    [entry] = (e for e in Ledger(stepped.store).entries({"stage"}) if e.data["stage"] == "retrain")
    assert entry.data["files"].keys() == {
        f"seed-{seed}/{name}" for seed in (3, 4) for name in ("model.json", "weights.safetensors")
    }
    assert verify_folder(stepped.folder, "any")["files"] > 4
