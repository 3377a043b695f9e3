"""Ed25519 by `cryptography`: the key that seals ledgers, and the check of what it signed."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from nas_core.errors import InputError
from nas_core.ledger import fingerprint
from nas_core.store import create_file

_VARIABLE = "EVERNAS_SIGNING_KEY"


class Ed25519Signer:
    """A private key; see `nas_core.ledger.Signer`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public_key = key.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """The public key, 32 raw bytes."""
        return self._public_key

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the public key, in hex."""
        return fingerprint(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`, 64 bytes."""
        return self._key.sign(message)


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is what the holder of `public_key` (32 bytes) made for `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_path() -> Path:
    """Return where the key is: $EVERNAS_SIGNING_KEY, else `evernas/signing.pem` in the user's configuration folder."""
    if named := os.environ.get(_VARIABLE):
        return Path(named)
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or "")
    if not configuration.is_absolute():  # the XDG specification says to ignore a relative one
        try:
            configuration = Path.home() / ".config"
        except RuntimeError as error:
            raise InputError(
                f"{_VARIABLE}: not set, and this user has no home folder; set it to the path of a key"
            ) from error
    return configuration / "evernas" / "signing.pem"


def load_signer() -> Ed25519Signer:
    """Return the signer of the key at `key_path()`; a new key is made if there is no file.

    The file is PKCS8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. InputError if it is not, if it cannot
    be read or made, or if others may read it though it is ours to protect. A key that belongs to another user, or lies
    on a read-only mount, has the permissions that its administrator chose (a Kubernetes Secret is 0644 or 0440).
    """
    path = key_path()
    try:
        if not path.exists():
            _make(path)
        data = path.read_bytes()
        _check_permissions(path)
    except OSError as error:
        raise InputError(f"signing key: cannot read or make {path} ({error}); set {_VARIABLE} to another") from error
    return Ed25519Signer(_parse(path, data))


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        create_file(path, pem, mode=0o600)
    except FileExistsError:
        return  # another process was faster: its key is the one


def _check_permissions(path: Path) -> None:
    status = path.stat()
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    if status.st_uid == os.geteuid() and status.st_mode & 0o077 and not read_only:
        raise InputError(
            f"signing key: {path} must be closed to others, its permissions are {status.st_mode & 0o777:04o}; "
            f"run: chmod 600 {path}"
        )


def _parse(path: Path, data: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(
            f"signing key: {path} is not an unencrypted Ed25519 key in PKCS8 PEM; put the right file there, or move it "
            "away to get a new key (ledgers begun with the old one then stay as they are)"
        )
    return key
