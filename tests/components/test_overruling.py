"""What people decide against the pipeline is on record before it has an effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components import bundle
from components.backends.signing import load_signer
from components.champion import bundle_folder
from components.overruling import roll_back, waive
from components.promotions import Deployment, deployment
from components.root import Root
from components.run import Run
from nas_core.errors import FencedError, InputError, IntegrityError
from nas_core.ledger import Ledger, verify
from tests.components.audit.forging import small_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return small_run(tmp_path)


@pytest.fixture
def there(run: Run) -> Deployment:
    """A deployment whose third bundle is the champion, by `run`."""
    found, over = deployment(run.place, "tiny"), None
    for content in ("one", "two", "three"):
        contents = {bundle.MODEL: content.encode(), bundle.PROFILE: b"{}"}
        digest = bundle.write(run.folder / content, contents, load_signer())
        bundle.write(bundle_folder(found.folder, digest), contents, load_signer())
        found.promote(found.folder, digest, "small" if content == "three" else content, over)
        over = digest
    return found


def written(run: Run, kind: str) -> list[dict[str, Any]]:
    assert verify(run.store, None).entries > 0
    return [entry.data for entry in Ledger(run.store).entries({kind})]


# ---------------------------------------------------------------- rollback


def test_the_bundle_before_takes_the_champions_place_and_the_record_says_why(run: Run, there: Deployment) -> None:
    before = there.champion()
    assert before
    done = roll_back(run.place, "tiny", None, " too slow ", "ada")
    after = there.champion()
    assert after
    assert (after.digest, after.previous) == (before.previous, before.digest)
    assert after.run == "rollback of small"
    record = {"digest": before.digest, "to": before.previous, "reason": "too slow", "by": "ada"}
    assert written(run, "rollback") == [record]
    assert done == {"name": "tiny", "run": "small", **record}


def test_twice_is_back_again_and_an_earlier_one_can_be_named(run: Run, there: Deployment) -> None:
    third = there.champion()
    assert third
    first = next(d for d in there.bundles() if d not in (third.digest, third.previous))
    roll_back(run.place, "tiny", None, "try")
    assert roll_back(run.place, "tiny", None, "back")["to"] == third.digest
    assert roll_back(run.place, "tiny", first[:10], "the oldest")["to"] == first
    assert len(written(run, "rollback")) == 3


def test_the_promoter_of_what_was_withdrawn_does_not_pass_for_the_champions(run: Run, there: Deployment) -> None:
    """Else that run, deployed again, would be compared with its predecessor and promote itself unjudged."""
    from components.champion import incumbent

    roll_back(run.place, "tiny", None, "too slow")
    after = there.champion()
    assert after
    assert incumbent(there.folder, "small") == incumbent(there.folder, "two") == after.digest


def test_a_bundle_that_was_changed_does_not_come_back(run: Run, there: Deployment) -> None:
    before = there.champion()
    assert before
    (bundle_folder(there.folder, str(before.previous)) / bundle.MODEL).write_bytes(b"TWO")
    with pytest.raises(IntegrityError):
        roll_back(run.place, "tiny", None, "too slow")
    assert there.champion() == before
    assert written(run, "rollback") == []


def test_of_two_at_the_same_time_one_is_fenced(there: Deployment) -> None:
    before = there.champion()
    assert before
    there.roll_back(before, str(before.previous), lambda: None)
    with pytest.raises(FencedError, match="the champion changed in the meantime"):
        there.roll_back(before, str(before.previous), lambda: None)


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("name", "to", "reason", "told"),
    [
        ("other", None, "x", "name: 'other' has no champion"),
        ("tiny", "zz", "x", "--to: 'zz' is not the begin of one bundle"),
        ("tiny", "", "x", "--to: '' is the begin of 2, not of one bundle"),
        ("tiny", None, " ", "--reason: must not be empty"),
    ],
)
def test_what_cannot_be_rolled_back_is_told(run: Run, name: str, to: str | None, reason: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        roll_back(run.place, name, to, reason)
    assert written(run, "rollback") == []


def test_the_first_of_its_name_has_nothing_before_it(run: Run) -> None:
    alone = deployment(run.place, "alone")
    contents = {bundle.MODEL: b"one", bundle.PROFILE: b"{}"}
    digest = bundle.write(bundle_folder(alone.folder, "draft"), contents, load_signer())
    bundle_folder(alone.folder, "draft").rename(bundle_folder(alone.folder, digest))
    alone.promote(alone.folder, digest, "small", None)
    with pytest.raises(InputError, match="the champion is the first of its name; there is no other"):
        roll_back(Root.open(run.root), "alone", None, "x")


# ---------------------------------------------------------------- waivers


def blocked(run: Run, *gates: str) -> Run:
    result = {"decision": "blocked", "gates": [{"gate": gate, "passed": False} for gate in gates]}
    run.step("deploy", {}, lambda _out, _ledger: result)
    return run


def test_a_waiver_is_on_record_with_its_reason_and_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "grace")
    done = waive(blocked(run, "size", "parity"), "size", "there is room")
    assert written(run, "waiver") == [{"gate": "size", "reason": "there is room", "by": "grace"}]
    assert done["run"] == "small"


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("parity", "gate: unknown name 'parity'"),
        ("latency", "gate: latency has not stopped run small, it was stopped by size"),
    ],
)
def test_what_cannot_be_waived_is_told(run: Run, gate: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        waive(blocked(run, "size"), gate, "x")
    assert written(run, "waiver") == []


def test_a_run_that_nothing_stopped_needs_no_waiver(run: Run) -> None:
    with pytest.raises(InputError, match="no gate has stopped it"):
        waive(run, "size", "x")
