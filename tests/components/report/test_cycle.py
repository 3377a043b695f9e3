from __future__ import annotations

from datetime import UTC, datetime, timedelta

from components.report.cycle import read
from nas_core.ledger import Ledger
from nas_core.store import FolderStore

from .conftest import Record


def propose(record: Record, first: int, *architectures: list[int]) -> None:
    accepted = [{"architecture": a, "fidelity": 1.0, "parents": [], "why": []} for a in architectures]
    record.ledger.append("proposals", {"first": first, "accepted": accepted, "refused": []})


def end(record: Record, number: int, finished: int) -> None:
    outcome = {"number": number, "status": "failed", "reason": "nan", "cost_seconds": 1.0, "finished": finished}
    record.ledger.append("outcome", outcome)


def test_nothing_recorded_is_a_cycle_too(record: Record) -> None:
    cycle = read(record.ledger.entries())
    assert (cycle.head.seq, cycle.candidates, cycle.total_seconds) == (-1, 0, None)


def test_candidates_are_what_this_cycle_has_evaluated(record: Record) -> None:
    prior = {"architecture": [9], "fidelity": 1.0, "origin": "before#3", "status": "ok", "curve": [], "error": ""}
    record.ledger.append("priors", {"trials": [{**prior, "metrics": {"accuracy": 0.9}, "cost_seconds": 1.0}]})
    propose(record, 1, [0], [1], [2])
    end(record, 1, 1)
    end(record, 3, 2)
    assert read(record.ledger.entries()).candidates == 2


def test_an_architecture_at_two_fidelities_is_one_candidate(record: Record) -> None:
    propose(record, 0, [4], [4])
    end(record, 0, 0)
    end(record, 1, 1)
    assert read(record.ledger.entries()).candidates == 1


def test_a_failure_is_forgotten_once_the_cycle_went_on(record: Record) -> None:
    record.ledger.append("failure", {"stage": "drift", "code": 4, "message": "the disk is full"})
    assert read(record.ledger.entries()).halt is not None
    record.drift()
    assert read(record.ledger.entries()).halt is None


def test_a_stage_that_was_done_again_counts_as_it_was_done_last(record: Record) -> None:
    record.drift(go=False).drift(go=True)
    assert read(record.ledger.entries()).result("drift")["go"]


def test_time_runs_from_the_first_entry_to_the_last(record: Record) -> None:
    times = iter(datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=s) for s in (0, 60, 90.5))
    ledger = Ledger(FolderStore(record.folder), clock=lambda: next(times))
    for kind in ("cycle", "note", "end"):
        ledger.append(kind, {})
    assert read(ledger.entries()).total_seconds == 90.5
