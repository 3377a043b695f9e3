"""Check this export: python3 -I verify.py [KNOWN ...]. KNOWN: the key's fingerprint, hashes of entries, as you know them."""

import base64, hashlib, json, pathlib, re, subprocess, sys, tempfile

sys.excepthook = lambda _, error, __: sys.stderr.write(f"NOT IN ORDER: {error}\n")  # and the exit code is 1
here = pathlib.Path(__file__).resolve().parent
pem = (here / "public-key.pem").read_bytes()
key = hashlib.sha256(base64.b64decode(pem.split(b"-----")[2])[-32:]).hexdigest()
openssl = "openssl pkeyutl -verify -rawin -pubin -inkey key -in text -sigfile signature".split()


def need(fact, otherwise):
    if not fact:
        raise ValueError(otherwise)


def check(what, text, signature):
    need(re.fullmatch("[A-Za-z0-9+/]{85}[AQgw]==", signature), f"{what}: its signature is not whole")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in ("key", pem), ("text", text), ("signature", base64.b64decode(signature)):
            pathlib.Path(folder, name).write_bytes(data)
        good = subprocess.run(openssl, cwd=folder, capture_output=True).returncode == 0
    need(good, f"{what}: its signature is not right")


*lines, rest = (here / "ledger.jsonl").read_bytes().split(b"\n")
hashes, files, kind = [hashlib.sha256(line).hexdigest() for line in lines], {}, ""
for seq, (line, before) in enumerate(zip(lines, ["0" * 64, *hashes])):
    follows = line.startswith(b'{"seq":%d,"prev":"%s",' % (seq, before.encode()))
    need(follows, f"entry {max(seq - 1, 0)} or {seq}: changed, or not in its place")
for seq, entry in enumerate(map(json.loads, lines)):
    kind, data = entry["kind"], entry["data"]
    if kind == "seal":
        need(data["key"] == key, f"entry {seq}: sealed by another key than public-key.pem")
        text = lines[seq].replace(b',"signature":"%s"' % data["signature"].encode(), b"")
        check(f"entry {seq}", text, data["signature"])
    inside = f"{data['stage']}/" if kind == "stage" else ""  # a stage done again is judged by its newest entry
    files = {name: digest for name, digest in files.items() if not (inside and name.startswith(inside))}
    files |= {inside + name: digest for name, digest in data.get("files", {}).items()}
    files |= {"spec.yaml": data["spec_digest"]} if kind == "cycle" else {}
need(kind == "seal" and not rest, f"entry {len(lines)}: missing")
for head in map(json.loads, (here / "heads.jsonl").read_bytes().splitlines()):
    signature, seq = head.pop("signature"), head["seq"]
    check(f"head {seq}", json.dumps(head, sort_keys=True, separators=(",", ":")).encode(), signature)
    need(hashes[seq : seq + 1] == [head["hash"]], f"entry {seq}: missing, or not what was anchored at {head['time']}")
for name, digest in json.loads((here / "manifest.json").read_bytes()).items():
    need(files.get(name) == digest, f"{name}: not in manifest.json as it is in the ledger")
    need(hashlib.sha256((here / name).read_bytes()).hexdigest() == digest, f"{name}: not what was recorded")
for known in sys.argv[1:]:
    need(known in (key, *hashes), f"{known}: neither the key's fingerprint nor the hash of an entry")
print(f"in order: {len(lines)} entries up to {hashes[-1]}, sealed by the key {key}")
