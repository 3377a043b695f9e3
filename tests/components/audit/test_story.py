"""A candidate's life as the record tells it, in facts and in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.audit.standing import standing
from components.audit.story import story
from components.audit.telling import tell
from components.run import Run
from nas_core.errors import InputError
from nas_core.ledger import Ledger
from nas_core.study import LedgerStudy
from nas_core.types import Decision, Failure, Metrics, Objective, Proposal, Status, Trial
from tests.components.audit.conftest import SPEC

ACCURACY = Objective(metric="accuracy", goal="max")
SMALL = (ACCURACY, Objective(metric="params", goal="min", limit=100))


@pytest.fixture(scope="module")
def chosen(whole: Run) -> int:
    return int(whole.results()["search"]["trial"])


def entry(run: Run, seq: int) -> Any:
    return next(each for each in Ledger(run.store).entries() if each.seq == seq)


def test_every_event_names_the_entry_that_says_so(whole: Run, chosen: int) -> None:
    told = story(whole, chosen)
    life = told["life"]
    events = [(life["proposal"], "proposals"), (life["outcome"], "outcome"), *((r, "report") for r in life["reports"])]
    events += [(told["followed"][stage], "stage") for stage in ("retrain", "fairness", "deploy")]
    events += [(told["followed"]["decisions"][0], "promotion"), (told["code"], "cycle"), (told["data"], "stage")]
    for event, kind in events:
        found = entry(whole, event["entry"])
        assert (found.kind, found.hash) == (kind, event["hash"])
    assert json.loads(json.dumps(told)) == told


def test_the_chosen_one(whole: Run, chosen: int) -> None:
    told = story(whole, chosen)
    search = whole.results()["search"]
    assert told["candidate"] == {
        "trial": chosen,
        "architecture_id": search["architecture_id"],
        "decisions": search["decisions"],
    }
    assert [report["step"] for report in told["life"]["reports"]] == [1, 2, 3, 4]
    assert (told["standing"]["verdict"], told["standing"]["rank"], told["standing"]["front"]) == ("chosen", 1, True)
    assert told["parents"][0]["architecture_id"] == search["architecture_id"]
    assert told["followed"]["is_champion"]
    assert told["data"]["digest"] == whole.results()["data_prep"]["digest"]
    words = tell(told)
    for line in (
        f"Trial {chosen} of run one, architecture {search['architecture_id']}",
        "by the strategy asha (eta 2, min_fidelity 0.25), seed 3.",
        "It was to be trained with 100 % of the full effort.",
        "Chosen: the best by accuracy (",
        "Fairness audit: inconclusive, by accuracy.",
        "Gate serving: passed",
        "the first of its name.",
        "It is the champion now.",
        "Data: kind builtin, name breast-cancer.",
        f"Prepared data {told['data']['digest']}",
        f"digest {told['code']['environment']['code']}",
    ):
        assert line in words


def test_the_rule_s_reason_is_told_with_its_entry(whole: Run, chosen: int) -> None:
    told = story(whole, chosen)
    found = entry(whole, told["choice"]["entry"])
    assert (found.kind, found.hash) == ("choice", told["choice"]["hash"])
    assert found.data["trial"] == chosen
    assert f"Chosen: {found.data['text']}." in tell(told)
    assert f"{found.hash}  choice" in tell(told)
    beaten = next(
        number for number in range(24) if number != chosen and story(whole, number)["standing"]["verdict"] == "beaten"
    )
    assert f"That one is {found.data['text']}." in tell(story(whole, beaten))


def test_one_that_led_to_the_chosen_one(whole: Run, chosen: int) -> None:
    parent = story(whole, chosen)["parents"][0]["trial"]
    told = story(whole, parent)
    assert (told["standing"]["verdict"], told["led_to_chosen"], told["followed"]) == ("fidelity", True, None)
    assert told["standing"]["continued_by"] == [chosen]
    words = tell(told)
    assert "Not chosen itself: the choice was among those with 100 % of the effort." in words
    assert f"It fell on trial {chosen}, which goes on where it ended." in words
    assert f"It was continued by trial {chosen}." in words


def test_one_that_was_beaten_by_how_much(whole: Run, chosen: int) -> None:
    stories = [story(whole, number) for number in range(24)]
    beaten = next(each for each in stories if each["standing"]["verdict"] == "beaten")
    best = stories[chosen]["standing"]["objectives"][0]["value"]
    gap = beaten["standing"]["against"]["better_by"]["accuracy"]
    assert gap == beaten["standing"]["objectives"][0]["value"] - best
    assert gap < 0
    assert f"trial {chosen} was. Against that one it is {-100 * gap:.2f} points worse in accuracy" in tell(beaten)


def test_one_that_breaks_a_limit_by_how_much(whole: Run) -> None:
    stories = [story(whole, number) for number in range(24)]
    broken = next(each for each in stories if each["standing"]["verdict"] == "limit")
    params = broken["standing"]["objectives"][1]
    assert params["beyond_limit"] == params["value"] - 900 > 0
    share = params["beyond_limit"] / 9
    told = f"parameters breaks the limit of 900 by {params['beyond_limit']:,.0f}, {share:.1f} % of it."
    assert told in tell(broken)


def test_one_that_the_stopper_ended(stopped: Run) -> None:
    stories = [story(stopped, number) for number in range(8)]
    ended = [each for each in stories if each["life"]["stopped"]]
    assert ended
    told, step = ended[0], ended[0]["life"]["stopped"]["step"]
    assert (told["life"]["status"], told["life"]["reports"][-1]["step"]) == ("pruned", step)
    assert (told["standing"]["verdict"], told["standing"]["rank"]) == ("no figures", None)
    assert f"The median stopper ended it at step {step} (entry {told['life']['stopped']['entry']})." in tell(told)


@pytest.mark.parametrize("number", [-1, 24])
def test_a_trial_that_there_is_not(whole: Run, number: int) -> None:
    with pytest.raises(InputError, match=f"trial {number}: run one has not tried it; it has 24 trials"):
        story(whole, number)


def test_it_needs_no_torch(whole: Run, chosen: int) -> None:
    script = (
        "import sys\nfrom components.run import Run\nfrom components.audit.story import story\n"
        "from components.audit.telling import tell\n"
        f"print(tell(story(Run.open({str(whole.root)!r}, 'one'), {chosen})))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "It is the champion now." in done.stdout


# ---------------------------------------------------------------- attempts, faults, earlier cycles


class Widths:
    decisions = (Decision(name="width", options=("8", "16", "32")),)

    def build(self, architecture: Any) -> Any:
        raise RuntimeError(f"there is no network for {architecture}")


class InTurn:
    def propose(self, history: list[Trial], n: int) -> list[Proposal]:
        own = [trial for trial in history if not trial.origin]
        parents = (0,) if history and history[0].origin else ()
        return [Proposal(architecture=(len(own),), parents=parents, why=(("turn", float(len(own))),))][:n]


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    run = Run.create(tmp_path, "begun", yaml.safe_dump(SPEC), tmp_path)
    run.begin()
    return run


def test_attempts_that_ended_by_faults_and_takeovers(begun: Run) -> None:
    lost = Failure(status=Status.LOST, reason="worker: its process was killed")
    with begun.writing("search") as ledger:
        study = LedgerStudy(ledger, Widths(), [ACCURACY], InTurn())
        [trial] = study.ask(1)
        assert study.retry(trial.number, lost, 12.0, 3)
        study.ask(1)
    with begun.writing("search") as ledger:
        study = LedgerStudy(ledger, Widths(), [ACCURACY], InTurn())
        study.ask(1)
        study.tell(0, Failure(status=Status.INFEASIBLE, reason="oom: 3 GB asked for"), 5.0)
    told = story(begun, 0)
    assert [each["how"] for each in told["life"]["attempts"]] == ["fault", "taken over"]
    assert told["life"]["outcome"]["cost_seconds"] >= 17.0
    assert (told["standing"]["verdict"], told["candidate"]["architecture_id"]) == ("no figures", "")
    words = tell(told)
    assert "An attempt ended after 12 s by a fault of the machinery: worker: its process was killed." in words
    assert "An attempt ended because its process did; another took over on" in words
    assert "It ended infeasible on" in words
    assert "The reason: oom: 3 GB asked for." in words
    assert "Not chosen: it has no figures to be compared by." in words


def test_one_that_is_still_running_and_one_from_an_earlier_cycle(begun: Run) -> None:
    prior = Trial(
        number=0,
        architecture=(2,),
        origin="last-month#4",
        status=Status.OK,
        finished=0,
        metrics={"accuracy": 0.8, "params": 50.0},
    )
    with begun.writing("search") as ledger:
        LedgerStudy(ledger, Widths(), [ACCURACY], InTurn(), priors=[prior]).ask(1)
    words = tell(story(begun, 1))
    assert "It comes from trial 0 (ok at 100 %), brought along from last-month#4." in words
    assert "Its reason: turn 0." in words
    assert "It has no end on record: it is still running, or its process was killed." in words
    with pytest.raises(InputError, match="trial 0: run begun has not tried it"):
        story(begun, 0)


# ---------------------------------------------------------------- standing


def trials(*figures: Metrics | None) -> list[Trial]:
    return [
        Trial(number=i, architecture=(i,), status=Status.OK if m else Status.FAILED, metrics=m)
        for i, m in enumerate(figures)
    ]


@pytest.mark.parametrize(
    ("number", "rank", "front", "verdict"),
    [(0, 1, True, "chosen"), (1, 2, True, "beaten"), (2, 3, False, "beaten"), (3, 4, False, "limit")],
)
def test_ranks_and_verdicts(number: int, rank: int, front: bool, verdict: str) -> None:
    some = trials(
        {"accuracy": 0.9, "params": 90.0},
        {"accuracy": 0.8, "params": 10.0},
        {"accuracy": 0.7, "params": 20.0},
        {"accuracy": 0.99, "params": 150.0},
        None,
    )
    found = standing(number, some, SMALL, 0)
    assert (found["rank"], found["of"], found["front"], found["verdict"]) == (rank, 4, front, verdict)


@pytest.mark.parametrize(
    ("figures", "verdict"), [({"accuracy": 0.5, "params": 1.0}, "undecided"), (None, "no figures")]
)
def test_before_anything_was_chosen(figures: Metrics | None, verdict: str) -> None:
    assert standing(0, trials(figures), SMALL, None)["verdict"] == verdict


def test_equals_are_told_as_such() -> None:
    same = {"accuracy": 0.5, "params": 1.0}
    found = standing(1, trials(same, same), SMALL, 0)
    assert found["against"] == {"trial": 0, "better_by": {"accuracy": 0.0, "params": 0.0}, "breaks_limit": False}


def test_a_limit_from_below() -> None:
    least = Objective(metric="accuracy", goal="max", limit=0.8)
    found = standing(0, trials({"accuracy": 0.6}), [least], None)
    assert found["verdict"] == "limit"
    assert found["objectives"][0]["beyond_limit"] == pytest.approx(0.2)
