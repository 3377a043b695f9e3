from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from components import parts
from components.report import page
from components.report.cycle import read
from components.report.page import Material, render
from components.report.summary import summarise
from nas_core.types import Trial

from .conftest import Record

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    """Collects tags with their attributes, the text of scripts, and the rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = "" if tag == self._in else self._in

    def handle_data(self, data: str) -> None:
        (self.scripts if self._in == "script" else self.text).append(data)


def describe(trial: Trial) -> tuple[str, dict[str, str]]:
    return f"{trial.number:016x}", {"depth": "1", "width_1": str(trial.architecture[0])}


def page_of(record: Record, audit: dict[str, Any] | None = None) -> str:
    entries = list(record.ledger.entries())
    summary = summarise(entries, record.spec, record.folder / "report.html")
    return render(Material(read(entries), summary, parts.objectives(record.spec), describe, audit, []))


def hostile(record: Record) -> dict[str, Any]:
    """Put what is not to be trusted wherever a table, a spec or an error can put it; return such an audit."""
    columns = [{"column": HOSTILE, "test": HOSTILE, "p": 0.1, "effect": 0.1, "p_adjusted": 1.0, "drifted": False}]
    record.begin(
        run=HOSTILE, spec=HOSTILE, environment={HOSTILE: HOSTILE}, previous={"digest": HOSTILE, "run": HOSTILE}
    )
    record.drift(why=HOSTILE, source=HOSTILE, columns=columns)
    record.stage(
        "data_prep",
        {
            "rows": {"train": 1},
            "rows_without_target": 1,
            "columns": [{"name": HOSTILE, "kind": "categorical", "missing": 1}],
            "target": HOSTILE,
            "classes": {HOSTILE: 1.0},
            "positive": HOSTILE,
            "sensitive": [HOSTILE],
            "digest": HOSTILE,
        },
    )
    accepted = [{"architecture": [0], "fidelity": 1.0, "parents": [], "why": []}]
    record.ledger.append("proposals", {"first": 0, "accepted": accepted, "refused": []})
    outcome = {"number": 0, "status": "failed", "reason": HOSTILE, "cost_seconds": 1.0, "finished": 0}
    record.ledger.append("outcome", outcome)
    decisions = {f"{HOSTILE}_1": HOSTILE, HOSTILE: HOSTILE}
    record.stage("search", {"trial": 0, "front": [0], "decisions": decisions, "architecture_id": "0", "space_size": 1})
    brief = {"verdict": "pass", "difference": 0.1, "worst_groups": [HOSTILE] * 2, "reason": HOSTILE}
    head = {"verdict": "pass", "metric": "accuracy", "blocking": False}
    record.stage("fairness", {**head, "attributes": {HOSTILE: brief}})
    record.deploy(
        "kept", reason=HOSTILE, gates=[{"gate": HOSTILE, "passed": True, "value": 1, "limit": 2, "text": HOSTILE}]
    )
    rates = dict.fromkeys(("selection_rate", "tpr", "fpr", "accuracy"), 0.5)
    group = {"group": HOSTILE, "n": 10, "positives": 5, "judged": True, **rates}
    limits = {
        "max_difference": 0.1,
        "confidence": 0.95,
        "min_group": 1,
        "min_class_rows": 1,
        "rows": 9,
        "positive": HOSTILE,
    }
    return {**head, **limits, "attributes": {HOSTILE: {**brief, "groups": [group]}}}


def test_whatever_a_table_or_a_spec_says_is_text(record: Record) -> None:
    audit = hostile(record)
    found = Tags(page_of(record, audit))
    assert found.scripts == [Path(page.__file__).with_name("page.js").read_text(encoding="utf-8")]
    assert "img" not in {tag for tag, _ in found.tags}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert "".join(found.text).count("<script>alert(1)</script>") >= 25


def test_the_policy_allows_this_script_and_nothing_from_outside(record: Record) -> None:
    found = Tags(page_of(record.begin()))
    [policy] = [a["content"] for tag, a in found.tags if tag == "meta" and a.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(found.scripts[0].encode()).digest()).decode()
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy


def test_the_page_refers_to_nothing_but_itself(cycle: Record) -> None:
    text = page_of(cycle.deploy())
    ids = {a["id"] for _, a in Tags(text).tags if "id" in a}
    links = [a["href"] for _, a in Tags(text).tags if "href" in a]
    assert links
    assert all(link and link[0] == "#" and link[1:] in ids for link in links)
    assert not re.search(r"(src=|@import|url\()", text)


def test_every_candidate_is_there_without_any_script(cycle: Record) -> None:
    text = page_of(cycle)
    history = read(cycle.ledger.entries()).history
    for trial in history.trials:
        seq, digest = history.recorded(trial.number)
        assert f"<code>{trial.number:016x}</code>" in text
        assert f"{seq} <code>{digest[:8]}</code>" in text


def test_the_chosen_candidate_is_marked_and_only_it(cycle: Record) -> None:
    chosen = read(cycle.ledger.entries()).result("search")["trial"]
    table = page_of(cycle).partition('id="candidates"')[2]
    assert table.count('class="chosen"') == 1
    assert f'<tr class="chosen"><th scope="row" class="n" data-v="{chosen}">' in table


def test_gates_stand_with_their_figures(cycle: Record) -> None:
    text = page_of(cycle.deploy("blocked"))
    assert "✗ failed" in text
    assert "✓ passed" in text
    assert "<td>0.05</td>" in text.replace(' class="n"', "")


@pytest.mark.parametrize("decision", ["promoted", "kept", "blocked"])
def test_the_decision_is_on_top_with_its_reason(cycle: Record, decision: str) -> None:
    head = page_of(cycle.deploy(decision, reason="told by the rows")).partition("<main")[0]
    assert "Told by the rows." in head
    assert f">{decision}</span>" in head


def test_a_cycle_that_ended_early_shows_only_what_there_is(record: Record) -> None:
    record.begin().drift(go=False)
    sections = re.findall(r'<section id="(\w+)">', page_of(record))
    assert sections == ["data", "record"]


def test_nothing_at_all_is_still_a_page(record: Record) -> None:
    assert "evernas audit verify tumour-1" in page_of(record)


def test_sections_and_contents_agree(cycle: Record) -> None:
    audit = json.loads((cycle.folder / "fairness" / "fairness.json").read_text(encoding="utf-8"))
    text = page_of(cycle.deploy(), audit)
    assert re.findall(r'<section id="(\w+)">', text) == re.findall(r'<a href="#(\w+)">', text)
