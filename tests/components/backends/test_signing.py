from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from components.backends.signing import Ed25519Signer, key_path, load_signer, verify_signature
from nas_core.errors import InputError
from nas_core.ledger import fingerprint


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key is in this test; there is none yet."""
    path = tmp_path / "keys" / "signing.pem"
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(path))
    return path


def test_a_signature_is_right_for_its_key_and_message_only() -> None:
    signer = Ed25519Signer(ed25519.Ed25519PrivateKey.generate())
    other = Ed25519Signer(ed25519.Ed25519PrivateKey.generate())
    signature = signer.sign(b"message")
    assert verify_signature(signer.public_key, b"message", signature)
    assert not verify_signature(signer.public_key, b"massage", signature)
    assert not verify_signature(other.public_key, b"message", signature)


@pytest.mark.parametrize(("key", "signature"), [(b"", b""), (b"x" * 31, b"y" * 64), (b"x" * 32, b"y" * 63)])
def test_malformed_keys_and_signatures_are_wrong_not_errors(key: bytes, signature: bytes) -> None:
    assert not verify_signature(key, b"message", signature)


def test_the_first_use_makes_a_closed_key_and_the_next_takes_it(path: Path) -> None:
    made = load_signer()
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_signer().public_key == made.public_key
    assert made.fingerprint == fingerprint(made.public_key)
    assert len(made.public_key) == 32


def test_processes_that_race_to_make_the_key_end_with_one(path: Path) -> None:
    script = "from components.backends.signing import load_signer; print(load_signer().fingerprint)"
    racers = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    prints = {racer.communicate()[0].strip() for racer in racers}
    assert prints == {load_signer().fingerprint}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_openssl_and_we_read_one_anothers_keys(path: Path, tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    path.parent.mkdir()
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    path.chmod(0o600)
    message, signature, public = (tmp_path / name for name in ("message", "signature", "public.pem"))
    message.write_bytes(b"message")
    signature.write_bytes(load_signer().sign(b"message"))
    subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-out", public], check=True, capture_output=True)
    check = f"openssl pkeyutl -verify -pubin -inkey {public} -rawin -in {message} -sigfile {signature}"
    subprocess.run(check.split(), check=True, capture_output=True)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_of_ours_that_is_open_to_others_is_refused_with_the_fix(path: Path, mode: int) -> None:
    load_signer()
    path.chmod(mode)
    with pytest.raises(InputError, match=rf"its permissions are 0{mode:o}; run: chmod 600 {path}"):
        load_signer()


def test_a_key_that_an_administrator_gave_us_may_be_readable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_signer()
    path.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert load_signer().public_key == made.public_key


def test_a_key_on_a_read_only_mount_may_be_readable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_signer()
    path.chmod(0o440)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert load_signer().public_key == made.public_key


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed25519.Ed25519PrivateKey.generate(), password=b"secret"),
    ],
    ids=["empty", "cut off", "another algorithm", "encrypted"],
)
def test_a_file_that_is_no_key_is_refused_and_kept(path: Path, content: bytes) -> None:
    load_signer()
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not an unencrypted Ed25519 key"):
        load_signer()
    assert path.read_bytes() == content


@pytest.mark.parametrize("place", ["folder", "below a file"])
def test_a_place_where_no_key_can_be_is_refused_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EVERNAS_SIGNING_KEY", str(tmp_path if place == "folder" else tmp_path / "file" / "key.pem"))
    with pytest.raises(InputError, match="set EVERNAS_SIGNING_KEY to another"):
        load_signer()


def test_a_user_without_a_home_is_told_to_name_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("EVERNAS_SIGNING_KEY", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(InputError, match="EVERNAS_SIGNING_KEY: not set, and this user has no home folder"):
        key_path()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"EVERNAS_SIGNING_KEY": "/secret/key.pem", "XDG_CONFIG_HOME": "/config"}, "/secret/key.pem"),
        ({"EVERNAS_SIGNING_KEY": "", "XDG_CONFIG_HOME": "/config"}, "/config/evernas/signing.pem"),
        ({"XDG_CONFIG_HOME": "relative"}, "/home/somebody/.config/evernas/signing.pem"),
        ({}, "/home/somebody/.config/evernas/signing.pem"),
    ],
)
def test_the_key_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("EVERNAS_SIGNING_KEY", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert key_path() == Path(expected)
