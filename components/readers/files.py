"""Texts by the line, and folders of images or clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from nas_core.errors import InputError

_WILD = frozenset("*?[")
_KINDS = {".png": "image", ".jpg": "image", ".jpeg": "image", ".wav": "audio"}


def read_lines(path: Path, encoding: str) -> pd.DataFrame:
    """Return `label`, `text` and `file` of each line `label text` in `path`: a file, a folder of files, or a pattern.

    Files come in the order of their names, which are told from the folder on; hidden files and empty lines are left
    out. InputError if there is no such file, or if one is not written in `encoding`.
    """
    folder, files = _matching(path)
    rows = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        for line in _decoded(file, encoding).split("\n"):
            label, *text = line.split(maxsplit=1)[:2] or [""]
            if label:
                rows.append((label, "".join(text).rstrip(), name))
    return pd.DataFrame(rows, columns=["label", "text", "file"], dtype=object)


def read_folder(path: Path) -> pd.DataFrame:
    """Return `image` or `audio`, `label` and `file` of all `<label>/<file>` in the folder `path`, by name.

    Hidden files are left out. InputError for a file that is neither PNG, JPEG nor WAV by its name, for one that is in
    no folder of a label, and for images beside clips.
    """
    if not path.is_dir():
        raise InputError(f"source.path: {path} is no folder; it must hold a folder of files for each label")
    rows, kinds = [], set()
    for folder in _visible(path):
        if not folder.is_dir():
            raise InputError(f"source.path: {folder} is in no folder of a label; move it into one, or away")
        for file in _visible(folder):
            if file.is_dir() or file.suffix.lower() not in _KINDS:
                raise InputError(f"source.path: {file} is neither a PNG, JPEG nor WAV file; convert or remove it")
            kinds.add(_KINDS[file.suffix.lower()])
            rows.append((file.read_bytes(), folder.name, f"{folder.name}/{file.name}"))
    if len(kinds) > 1:
        raise InputError(f"source.path: {path} holds images and clips; keep one of the two")
    return pd.DataFrame(rows, columns=[*(kinds or {"image"}), "label", "file"], dtype=object)


def _matching(path: Path) -> tuple[Path, list[Path]]:
    """Return the files that `path` means, and the folder that their names start from."""
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        folder, files = path, [file for file in _visible(path) if file.is_file()]
    else:
        fixed = next((i for i, part in enumerate(path.parts) if _WILD & set(part)), None)
        if fixed is None:
            raise InputError(f"source.path: {path} does not exist; name a file, a folder, or a pattern with *")
        folder = Path(*path.parts[:fixed])
        files = sorted(file for file in folder.glob("/".join(path.parts[fixed:])) if file.is_file())
    if not files:
        raise InputError(f"source.path: {path} matches no file; name a file, a folder of files, or a pattern")
    return folder, files


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _decoded(file: Path, encoding: str) -> str:
    try:
        return file.read_text(encoding=encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"source.encoding: line {line} of {file} is not {encoding} (it holds {error.object[error.start]:#04x}); "
            "set the encoding that it is written in, such as latin-1"
        ) from error
