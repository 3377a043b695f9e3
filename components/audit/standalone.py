"""Check this export: chain, seals, anchors, files. Needs Python 3.9 and openssl, nothing else.

python3 -I verify.py [KNOWN ...]    KNOWN: the key's fingerprint, hashes of entries, as you know them from elsewhere
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
HELD = {"spec.yaml", "report.html", "summary.json", "data_prep/profile.json", "fairness/fairness.json"}
HELD |= {"deploy/bundle/model-card.md", "deploy/bundle/provenance.json"}
PEM = (HERE / "public-key.pem").read_bytes()
OPENSSL = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key", "-in", "text", "-sigfile", "signature"]


def need(fact: bool, otherwise: str) -> None:
    """End with what is wrong, unless `fact` holds."""
    if not fact:
        sys.exit(f"NOT IN ORDER: {otherwise}")


def sha256(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def check_signature(what: str, text: str, signature: str) -> None:
    """Need the key of this export to have signed `text`; `signature` is base64, in its one usual spelling."""
    try:
        raw = base64.b64decode(signature)
    except ValueError:
        raw = b"none"
    need(base64.b64encode(raw).decode() == signature, f"{what}: its signature is not whole")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("key", PEM), ("text", text.encode()), ("signature", raw)):
            pathlib.Path(folder, name).write_bytes(data)
        done = subprocess.run(OPENSSL, cwd=folder, capture_output=True, check=False)
    need(done.returncode == 0, f"{what}: its signature is not right")


def parsed(what: str, text: str) -> dict[str, Any]:
    """Return the JSON object that `text` is."""
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        sys.exit(f"NOT IN ORDER: {what}: no longer a JSON object")


lines: list[str] = []
objects = [([int(number) for number in path.stem.split("-")], path) for path in HERE.glob("ledger/**/*.jsonl")]
for (first, *last), path in sorted(objects, key=lambda each: (each[0][0], -len(each[0]))):
    *found, rest = path.read_bytes().decode("latin-1").split("\n")
    end = first + len(found) - 1
    need(not rest and first <= len(lines) and last in ([], [end]), f"entry {len(lines)}: missing, see {path.name}")
    for seq, line in enumerate(found, first):
        before = sha256(lines[seq - 1].encode()) if seq else "0" * 64
        follows = line.startswith(f'{{"seq":{seq},"prev":"{before}",') and line in (lines[seq : seq + 1] or [line])
        need(follows, f"entry {max(seq - 1, 0)} or {seq}: changed, or not in its place")
        lines[seq : seq + 1] = [line]
    need(',"kind":"seal",' in lines[end], f"entry {end}: not a seal, though it ends {path.name}")
hashes = [sha256(line.encode()) for line in lines]
key = sha256(base64.b64decode(PEM.split(b"-----")[2])[-32:])
recorded: dict[str, str] = {}
for seq, line in enumerate(lines):
    entry = parsed(f"entry {seq}", line)
    kind, data = entry.get("kind"), entry.get("data", {})
    if kind == "seal":
        need(data.get("key") == key, f"entry {seq}: sealed by another key than public-key.pem")
        signature = str(data.get("signature"))
        check_signature(f"entry {seq}", line.replace(f',"signature":"{signature}"', ""), signature)
    elif kind == "stage":  # one that was done again is judged by its newest entry
        recorded = {name: digest for name, digest in recorded.items() if name.split("/")[0] != data["stage"]}
    elif kind == "cycle":
        recorded["spec.yaml"] = data["spec_digest"]
    inside = f"{data['stage']}/" if kind == "stage" else ""
    recorded.update({inside + name: digest for name, digest in data.get("files", {}).items()})
for path in sorted(HERE.glob("anchors/*.json")):
    data = parsed(f"anchor {path.name}", path.read_bytes().decode("latin-1"))
    signature = str(data.pop("signature", None))
    check_signature(f"anchor {path.name}", json.dumps(data, sort_keys=True, separators=(",", ":")), signature)
    seq, when = data["seq"], data["time"]
    need(seq < len(lines), f"entry {len(lines)}: missing, though entries up to {seq} were anchored at {when}")
    need(hashes[seq] == data["hash"], f"entry {seq}: not what was anchored at {when}")
for name, digest in recorded.items():
    if name in HELD or (HERE / name).exists():
        same = (HERE / name).is_file() and sha256((HERE / name).read_bytes()) == digest
        need(same, f"{name}: missing, or not what was recorded")
need(
    parsed("manifest.json", (HERE / "manifest.json").read_text("latin-1")) == recorded,
    "manifest.json: not what the ledger says",
)
for known in sys.argv[1:]:
    need(known in (key, *hashes), f"{known}: neither the key's fingerprint nor the hash of an entry")
sys.stdout.write(f"in order: {len(lines)} entries up to {hashes[-1]}, sealed by the key {key}\n")
