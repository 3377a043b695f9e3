from __future__ import annotations

from pathlib import Path

import pytest

from components.backends.storage import open_store
from nas_core.errors import InputError


@pytest.mark.parametrize("address", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_opened_by_path_or_file_address(tmp_path: Path, address: str) -> None:
    open_store(address.format(tmp_path / "runs")).create("a/b", b"data")
    assert (tmp_path / "runs" / "a" / "b").read_bytes() == b"data"


def test_a_file_address_may_be_percent_encoded(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/my%20runs").create("a", b"")
    assert (tmp_path / "my runs" / "a").exists()


def test_a_relative_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("runs").create("a", b"")
    assert (tmp_path / "runs" / "a").exists()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://bucket/runs", "s3:// is not supported, got 's3://bucket/runs'; give a folder's path or file:// address"),
        ("http://host/x", "http:// is not supported"),
        ("file://host/share", "must be file:///path"),
        ("file://", "must be file:///path"),
        ("", "must not be empty"),
        ("  ", "must not be empty"),
    ],
)
def test_other_addresses_are_refused_with_what_is_supported(address: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        open_store(address)
    assert says in str(caught.value)
