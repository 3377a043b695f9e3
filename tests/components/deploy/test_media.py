"""Networks for images, texts and clips: exported, promoted, served, and asked as their cards say."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
import pytest
from pydantic import TypeAdapter

from components.bundle import CARD, MODEL, SIGNATURE, open_model, run
from components.data_prep.stage import prepare
from components.deploy.rival import find_rival
from components.deploy.smoke import running
from components.deploy.stage import deploy
from components.prepared import Prepared
from components.sources import read
from components.spec import BuiltinSource, DeploySpec, Part, TaskSpec
from tests.conftest import DATA

SPACES = {
    "image": Part(kind="macro", max_layers=1, channels=8),
    "text": Part(kind="text-chain", max_depth=1, operations=["convolution"], widths=[16], kernels=[3]),
    "audio": Part(kind="audio-chain", max_depth=1, convolutions=["1d"], blocks=["plain"], widths_1d=[32]),
}
NOT_AUDITED: dict[str, Any] = {"verdict": "not audited", "metric": "accuracy", "blocking": False, "attributes": {}}


@dataclass
class Deployed:
    """A deployment of one kind."""

    kind: str
    data: Prepared
    folder: Path
    result: dict[str, Any]

    @property
    def bundle(self) -> Path:
        return Path(self.result["bundle"])

    @property
    def column(self) -> str:
        return self.data.encoder.columns[0].name

    def raw(self, rows: int) -> list[Any]:
        return list(self.data.frame("test")[self.column].tolist()[:rows])


def task_of(kind: str) -> Any:
    tasks: dict[str, dict[str, Any]] = {
        "image": {"source": {"kind": "parquet", "path": "clothes.parquet"}, "size": 16},
        "text": {"source": {"kind": "lines", "path": str(DATA / "trec" / "TREC.train.all"), "encoding": "latin-1"}},
        "audio": {"source": {"kind": "npz", "path": str(DATA / "fsdd_small.npz")}, "seconds": 0.5},
    }
    split = {"validation": 0.1, "audit": 0.1, "test": 0.1}
    return TypeAdapter(TaskSpec).validate_json(
        json.dumps({"kind": kind, "target": "label", "split": split, **tasks[kind]})
    )


@pytest.fixture(scope="module", params=list(SPACES))
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, train: Callable[..., Path]
) -> Deployed:
    kind: str = request.param
    if kind != "image" and not DATA.is_dir():
        pytest.skip(f"no test data at {DATA}; set EVERNAS_TEST_DATA to its folder")
    folder = tmp_path_factory.mktemp(kind)
    clothes = read(BuiltinSource(kind="builtin", name="fashion-mnist"), Path()).sample(1200, random_state=0)
    clothes.to_parquet(folder / "clothes.parquet")
    prepare(task_of(kind), 0, folder, folder / "data")
    data = Prepared.load(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERNAS_SIGNING_KEY", str(folder / "signing.pem"))
        patch.setenv("EVERNAS_ANCHORS", str(folder / "anchors"))
        result = deploy(
            DeploySpec(),
            name="it",
            first_metric="accuracy",
            data=data.folder,
            model=train(data, folder / "model", part=SPACES[kind], most=512),
            run={"id": "run-1"},
            fairness=NOT_AUDITED,
            champions=folder / "champions",
            out=folder / "out",
        )
    return Deployed(kind, data, folder, result)


@pytest.fixture(scope="module")
def url(deployed: Deployed) -> Iterator[str]:
    with running(deployed.bundle) as address:
        yield address


def ask(url: str, column: str, data: list[Any]) -> tuple[int, dict[str, Any]]:
    tensor = {"name": column, "datatype": "BYTES", "shape": [len(data)], "data": data}
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("POST", "/v2/models/it/infer", json.dumps({"inputs": [tensor]}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def sent(deployed: Deployed, rows: int) -> list[Any]:
    """Return raw rows as a caller sends them."""
    raw = deployed.raw(rows)
    return raw if deployed.kind == "text" else [base64.b64encode(file).decode() for file in raw]


def test_a_network_that_has_learned_something_passes_all_gates(deployed: Deployed) -> None:
    assert deployed.result["decision"] == "promoted", deployed.result["reason"]
    assert deployed.result["gates"][-1]["gate"] == "serving"


def test_the_exported_model_has_the_port_of_the_data(deployed: Deployed) -> None:
    [port] = deployed.data.signature.inputs
    [given] = onnx.load(deployed.bundle / MODEL).graph.input
    tensor = given.type.tensor_type
    assert given.name == port.name
    assert tuple(d.dim_value for d in tensor.shape.dim)[1:] == port.shape
    assert onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) == np.dtype(port.dtype)


def test_the_signature_says_how_files_are_sent(deployed: Deployed) -> None:
    [given] = json.loads((deployed.bundle / SIGNATURE).read_text())["inputs"]
    assert (given["name"], given["datatype"], given["shape"]) == (deployed.column, "BYTES", [-1])
    assert given.get("parameters") == (None if deployed.kind == "text" else {"content_type": "base64"})


def test_raw_rows_over_http_are_predicted_as_encoded_ones(deployed: Deployed, url: str) -> None:
    status, answer = ask(url, deployed.column, sent(deployed, 300))
    assert status == 200, answer
    outputs = {output["name"]: output for output in answer["outputs"]}
    found = np.array(outputs["probabilities"]["data"]).reshape(outputs["probabilities"]["shape"])
    inputs = tuple(array[: len(found)] for array in deployed.data.arrays("test")[0])
    np.testing.assert_allclose(found, run(open_model(deployed.bundle).session, inputs), atol=1e-5)


def test_the_card_says_what_it_is_given_and_how_to_ask(deployed: Deployed) -> None:
    card = (deployed.bundle / CARD).read_text()
    words = {
        "image": "for an image: a PNG or JPEG file, made 16 x 16 pixels of grey; the column image.",
        "text": "for a text: its first 32 words, of which ",
        "audio": "for a clip: a WAV file, of which 0.5 s are heard at 8000 samples a second; the column audio.",
    }
    assert words[deployed.kind] in card
    assert "median" not in card.partition("## Limits")[2]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_command_of_the_card_is_answered(deployed: Deployed, url: str, tmp_path: Path) -> None:
    card = (deployed.bundle / CARD).read_text()
    [command] = re.findall(r"```sh\n(.*?)```", card, re.DOTALL)
    file = {"image": "image.png", "audio": "clip.wav"}.get(deployed.kind)
    if file:
        (tmp_path / file).write_bytes(deployed.raw(1)[0])
    command = command.replace("http://localhost:8080", url)
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["outputs"][1]["data"][0] in deployed.data.classes


def test_a_fault_names_the_row(deployed: Deployed, url: str) -> None:
    [good] = sent(deployed, 1)
    faults: dict[str, list[tuple[Any, str]]] = {
        "text": [(7, "input 'text': value 1 must be BYTES or null, got 7")],
        "image": [
            ("not base64", "input 'image': value 1 must be the base64 text of a file, got \"not base64\""),
            ("R0lGODlh", "column 'image', row 1: no PNG or JPEG image: it begins with b'GIF89a'"),
            (None, "column 'image', row 1: the image is missing"),
        ],
        "audio": [("T2dnUw==", "column 'audio', row 1: no WAV file of PCM samples"), (None, "the clip is missing")],
    }
    for bad, message in faults[deployed.kind]:
        status, answer = ask(url, deployed.column, [good, bad])
        assert status == 400
        assert message in answer["error"]


def test_the_champion_is_the_rival_of_the_next_model(deployed: Deployed) -> None:
    rival = find_rival(deployed.data, deployed.folder / "champions", deployed.result["digest"])
    assert rival.is_champion, rival.reason
    assert rival.probabilities.shape == (len(deployed.data.arrays("test")[1]), len(deployed.data.classes))
