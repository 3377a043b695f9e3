from __future__ import annotations

import json

from mlflow.tracking import MlflowClient

from components.backends.mlflow_tracking import tracking_uri
from components.data_prep.step import main
from components.prepared import Prepared
from components.run import Run


def test_the_data_is_prepared_and_its_digest_on_record(stepped: Run) -> None:
    assert stepped.results()["data_prep"]["digest"] == Prepared.load(stepped.folder / "data_prep").digest


def test_mlflow_shows_the_data_once_on_the_cycles_run(stepped: Run) -> None:
    main(str(stepped.root), "one")
    client = MlflowClient(tracking_uri(stepped.spec.tracking, stepped.root))
    [data] = client.get_run(stepped.tracker.parent).inputs.dataset_inputs
    assert data.dataset.name == "tumour"
    assert json.loads(json.loads(data.dataset.source)["source"]) == {"kind": "builtin", "name": "breast-cancer"}
    assert json.loads(data.dataset.profile)["train"] > 0
