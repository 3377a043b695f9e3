"""Where a run is stored, by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from nas_core.errors import InputError
from nas_core.store import FolderStore, Store


def open_store(uri: str) -> Store:
    """Return the store at `uri`: a folder's path, or a `file://` address of one. InputError for anything else."""
    if "://" not in uri:
        if not uri.strip():
            raise InputError("storage: must not be empty; give a folder such as ./runs")
        return FolderStore(Path(uri))
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise InputError(
            f"storage: {parts.scheme}:// is not supported, got {uri!r}; give a folder's path or file:// address"
        )
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise InputError(f"storage: a file:// address must be file:///path, got {uri!r}; three slashes, then the path")
    return FolderStore(Path(unquote(parts.path)))
