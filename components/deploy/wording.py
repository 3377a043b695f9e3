"""What a model is asked with, in words and as a command, for each kind of input."""

from __future__ import annotations

import json
import shlex

from components.deploy.protocol import as_inputs
from components.encoding import Encoder
from components.encodings.audio import Audio
from components.encodings.image import Image
from components.encodings.text import Text
from components.prepared import Prepared

_URL = "http://localhost:8080/v2/models/{name}/infer"
_FILES = {"image": "image.png", "audio": "clip.wav"}


def asked_with(encoder: Encoder) -> str:
    """Return what the model is asked about: `a row with the columns ...`."""
    if not encoder.media:
        columns = ", ".join(f"{plain(column.name)} ({column.kind})" for column in encoder.columns)
        return f"a row with the columns {columns}"
    match encoder.media[0]:
        case Image() as image:
            colours = "of grey" if len(image.mean) == 1 else "of red, green and blue"
            what = f"an image: a PNG or JPEG file, made {image.width} x {image.height} pixels {colours}"
        case Text() as text:
            what = f"a text: its first {text.length} words, of which {len(text.vocabulary)} are known"
        case Audio() as clip:
            what = (
                f"a clip: a WAV file, of which {clip.samples / clip.rate:g} s are heard at {clip.rate} samples a second"
            )
    return f"{what}; the column {plain(encoder.media[0].name)}"


def limits(encoder: Encoder) -> list[str]:
    """Return how inputs are treated that are not like those of the training rows."""
    if not encoder.media:
        return [
            "A category that the training rows do not have is treated as a missing value.",
            "A number beyond those of the training rows is treated as the nearest of them.",
            "A missing number is treated as their median.",
        ]
    match encoder.media[0]:
        case Image():
            return ["An image of another size or shape is resized, and stretched where the shapes differ."]
        case Text():
            return [
                "Words that are not known are all treated alike, and what follows the words that are read is ignored.",
                "A missing text is treated as one without words.",
            ]
        case Audio():
            return ["What follows the part of a clip that is heard is ignored.", "Several channels are averaged."]


def how_to_ask(name: str, prepared: Prepared) -> list[str]:
    """Return the command that asks a server of the model `name` about one input."""
    encoder = prepared.encoder
    url = shlex.quote(_URL.format(name=name))
    told = f"`evernas serve {name}` serves the model in the Open Inference Protocol v2. One question to it:"
    if not encoder.media or encoder.media[0].kind == "text":
        body = shlex.quote(json.dumps({"inputs": as_inputs(encoder, _example(encoder))}))
        return ["## How to ask", told, f"```sh\ncurl {url} -d {body}\n```"]
    column = encoder.columns[0]
    body = json.dumps({"inputs": [{"name": column.name, "datatype": "BYTES", "shape": [1], "data": [""]}]})
    form = body.replace("\\", "\\\\").replace("%", "%%").replace('"data": [""]', '"data": ["%s"]')
    file = f"\"$(base64 < {_FILES[column.kind]} | tr -d '\\n')\""
    return ["## How to ask", told, f"```sh\nprintf {shlex.quote(form)} {file} | curl {url} -d @-\n```"]


def _example(encoder: Encoder) -> dict[str, list[object]]:
    """Return one row that is like the training rows and none of them."""
    row: dict[str, object] = {column.name: column.median for column in encoder.numeric}
    row |= {column.name: column.categories[0] for column in encoder.categorical}
    row |= {column.name: " ".join(column.vocabulary[:3]) for column in encoder.media if isinstance(column, Text)}
    return {name: [value] for name, value in row.items()}


def plain(text: str) -> str:
    """Return `text` so that it cannot break a table, a code span or a line of Markdown."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
