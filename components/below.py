"""A part of a store as a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.backends import storage
from nas_core.store import Store


@dataclass(frozen=True)
class Below:
    """The objects of `store` whose keys begin with `prefix`, which ends with `/`; see `nas_core.store.Store`."""

    store: Store
    prefix: str

    def create(self, key: str, data: bytes) -> None:
        """Store `data`; FileExistsError if there is such a key."""
        self.store.create(self.prefix + key, data)

    def read(self, key: str) -> bytes:
        """Return the object; FileNotFoundError if there is none."""
        return self.store.read(self.prefix + key)

    def keys(self, prefix: str = "") -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return [key.removeprefix(self.prefix) for key in self.store.keys(self.prefix + prefix)]

    def replace(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whatever was there."""
        self.store.replace(self.prefix + key, data)

    def remove(self, *keys: str) -> None:
        """Remove the objects that there are."""
        self.store.remove(*(self.prefix + key for key in keys))

    def put_file(self, key: str, path: Path) -> None:
        """Store the file at `path` under `key`, as `replace` does."""
        storage.put_file(self.store, self.prefix + key, path)

    def get_file(self, key: str, path: Path) -> None:
        """Write the object to a file at `path`; FileNotFoundError if there is none."""
        storage.get_file(self.store, self.prefix + key, path)
