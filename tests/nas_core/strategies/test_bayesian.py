"""The strategy `bayesian`: what it proposes after which history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.strategies._candidates import population
from nas_core.strategies._sources import Sources
from nas_core.strategies.bayesian import Bayesian, _fitted
from nas_core.types import Architecture, Decision, Metrics, Objective, Proposal, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")
LATENCY = Objective(metric="latency_ms", goal="min")
LIMITED = replace(LATENCY, limit=6.0)

Measure = Callable[[Architecture], Metrics]


@dataclass(frozen=True)
class Widths:
    """How wide each of some layers is: ordered options."""

    layers: int = 3
    options: int = 6

    @property
    def decisions(self) -> tuple[Decision, ...]:
        names = tuple(str(2**i) for i in range(self.options))
        attributes = tuple((2.0**i,) for i in range(self.options))
        return tuple(Decision(name=f"w{i}", options=names, attributes=attributes) for i in range(self.layers))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def measure(architecture: Architecture) -> Metrics:
    """Best at options 4, 3, 2, ...; wider is slower."""
    gaps = [option - max(4 - place, 0) for place, option in enumerate(architecture)]
    return {"accuracy": 0.9 - 0.01 * sum(gap**2 for gap in gaps), "latency_ms": float(sum(architecture)) + 1}


def tell(history: Sequence[Trial], proposals: Sequence[Proposal], outcome: Measure = measure) -> list[Trial]:
    """Return the history with the results of `proposals`, which end in order."""
    started = len(history)
    return [
        *history,
        *(
            Trial(
                number=started + i,
                architecture=p.architecture,
                status=Status.OK,
                finished=started + i,
                metrics=outcome(p.architecture),
            )
            for i, p in enumerate(proposals)
        ),
    ]


def search(
    strategy: Bayesian, calls: int, n: int = 1, outcome: Measure = measure, start: Sequence[Trial] = ()
) -> list[Trial]:
    history = list(start)
    for _ in range(calls):
        history = tell(history, strategy.propose(history, n), outcome)
    return history


def found(history: Sequence[Trial], architecture: Architecture) -> bool:
    return architecture in {trial.architecture for trial in history if not trial.origin}


def as_priors(history: Sequence[Trial], study: str = "before") -> list[Trial]:
    return [replace(trial, origin=f"{study}#{trial.number}") for trial in history]


# ---------------------------------------------------------------- what it finds


def test_it_finds_the_best_of_many_in_few_trials() -> None:
    """216 architectures; at random the chance to find the best within 25 is 12 %."""
    assert all(found(search(Bayesian(Widths(), [ACCURACY], seed), 25), (4, 3, 2)) for seed in range(5))


def test_the_goal_min_is_as_good() -> None:
    loss = Objective(metric="loss", goal="min")
    history = search(Bayesian(Widths(), [loss], 0), 25, outcome=lambda a: {"loss": -measure(a)["accuracy"]})
    assert found(history, (4, 3, 2))


def test_units_do_not_matter() -> None:
    """The scale of the targets is made of the results."""
    plain = search(Bayesian(Widths(), [ACCURACY], 0), 12)
    scaled = search(
        Bayesian(Widths(), [ACCURACY], 0), 12, outcome=lambda a: {"accuracy": 1024 * measure(a)["accuracy"] - 4096}
    )
    assert [t.architecture for t in plain] == [t.architecture for t in scaled]


def test_a_batch_spreads() -> None:
    history = search(Bayesian(Widths(), [ACCURACY], 0), 7, n=4)
    assert found(history, (4, 3, 2))


def test_a_space_too_large_to_look_at_whole_is_searched_in_a_pool() -> None:
    space = Widths(layers=7)
    assert algebra.size(space) > 50_000
    history = search(Bayesian(space, [ACCURACY], 0), 40)
    best = max(trial.metrics["accuracy"] for trial in history if trial.metrics)
    assert best >= measure((4, 3, 2, 1, 0, 0, 0))["accuracy"] - 0.02


# ---------------------------------------------------------------- the beginning


def test_the_first_ones_are_random_and_another_seed_draws_others() -> None:
    proposals = [Bayesian(Widths(), [ACCURACY], seed, initial=3).propose([], 3) for seed in (0, 1)]
    assert all(p.why == (("drawn", "at random"),) for answer in proposals for p in answer)
    assert proposals[0] != proposals[1]


def test_then_comes_what_is_extreme() -> None:
    """With one result no slope is known, and corners tell most of slopes."""
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    (second,) = strategy.propose(search(strategy, 1), 1)
    assert set(second.architecture) <= {0, 5}


def test_reasons_hold_the_value_and_the_belief() -> None:
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    (proposal,) = strategy.propose(search(strategy, 12), 1)
    why = dict(proposal.why)
    assert list(why) == ["acquisition", "accuracy.predicted", "accuracy.mean", "accuracy.sd"]
    assert why["acquisition"] == pytest.approx(why["accuracy.mean"] + why["accuracy.sd"])
    assert 0.5 < why["accuracy.predicted"] < 1


@pytest.mark.parametrize(("options", "message"), [({"initial": 0}, "initial: must be"), ({"beta": -1.0}, "beta: must")])
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Bayesian(Widths(), [ACCURACY], 0, **options)


# ---------------------------------------------------------------- what is not a plain result


def test_what_is_pending_is_no_longer_uncertain() -> None:
    """A pending trial counts as what is expected of it, so nothing near it is worth as much as if it had been lost."""
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    history = search(strategy, 3)
    (first,) = strategy.propose(history, 1)
    trial = Trial(number=3, architecture=first.architecture)
    lost = replace(trial, status=Status.LOST, finished=3, error="node: gone")
    (while_pending,), (after_loss,) = (strategy.propose([*history, each], 1) for each in (trial, lost))
    assert first.architecture not in {while_pending.architecture, after_loss.architecture}
    assert dict(while_pending.why)["acquisition"] < dict(after_loss.why)["acquisition"] - 0.01


def test_a_batch_is_what_would_be_proposed_one_by_one_while_all_are_pending() -> None:
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    history = search(strategy, 3)
    batch = strategy.propose(history, 4)
    waiting = list(history)
    for _ in range(4):
        (proposal,) = strategy.propose(waiting, 1)
        waiting.append(Trial(number=len(waiting), architecture=proposal.architecture))
    assert [p.architecture for p in batch] == [trial.architecture for trial in waiting[3:]]


def test_where_many_fail_is_avoided() -> None:
    def outcomes(trial: Trial) -> Trial:
        if trial.architecture[0] < 3:
            return trial
        return replace(trial, status=Status.FAILED, metrics=None, error="oom: no memory left")

    strategy = Bayesian(Widths(), [ACCURACY], 0)
    history: list[Trial] = []
    for _ in range(25):
        history = list(map(outcomes, tell(history, strategy.propose(history, 1))))
    assert np.mean([trial.status is Status.OK for trial in history[-10:]]) > 0.7


def test_lost_trials_teach_nothing() -> None:
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    history = search(strategy, 10)
    lost = [
        Trial(number=10 + i, architecture=(0, 0, i), status=Status.LOST, finished=10 + i, error="node: gone")
        for i in range(4)
    ]
    elsewhere = [replace(trial, architecture=(5, 5, i)) for i, trial in enumerate(lost)]
    assert strategy.propose([*history, *lost], 1) == strategy.propose([*history, *elsewhere], 1)


def test_a_trial_at_lower_fidelity_is_not_taken_for_a_full_one() -> None:
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    history = [
        Trial(number=0, architecture=(4, 3, 2), fidelity=0.1, status=Status.OK, finished=0, metrics=measure((4, 3, 2)))
    ]
    assert found(search(strategy, 25, start=history)[1:], (4, 3, 2))


def test_hyperparameters_depend_on_the_order_of_completion_alone() -> None:
    """A strategy that has seen another course of the search answers as one that has not."""
    history = search(Bayesian(Widths(), [ACCURACY], 0), 30)
    stayed = Bayesian(Widths(), [ACCURACY], 0)
    for length in (30, 7, 26, 30):
        anew = Bayesian(Widths(), [ACCURACY], 0)
        assert stayed.propose(history[:length], 2) == anew.propose(history[:length], 2)


def test_hyperparameters_are_fitted_after_each_early_result_and_ever_more_rarely_later() -> None:
    lengths = [_fitted(results) for results in range(2000)]
    assert lengths[:27] == [*range(26), 25]
    assert lengths[49:51] + lengths[99:101] + [lengths[119]] == [45, 50, 90, 100, 100]
    assert all(0.8 * results <= length <= results for results, length in enumerate(lengths))
    assert len(set(lengths)) < 80


# ---------------------------------------------------------------- several objectives


def test_two_objectives_cover_the_front() -> None:
    history = search(Bayesian(Widths(), [ACCURACY, LATENCY], 0), 40)
    points = {a: measure(a) for a in product(range(6), repeat=3)}
    front = {
        a
        for a, p in points.items()
        if not any(
            q["accuracy"] >= p["accuracy"] and q["latency_ms"] <= p["latency_ms"] and q != p for q in points.values()
        )
    }
    tried = {trial.architecture for trial in history}
    assert len(front & tried) / len(front) > 0.4


def test_within_a_limit_it_finds_the_best() -> None:
    history = search(Bayesian(Widths(), [ACCURACY, LIMITED], 0), 40)
    kept = [t.metrics for t in history if t.metrics and t.metrics["latency_ms"] <= 6]
    best = max(m["accuracy"] for a in product(range(6), repeat=3) if (m := measure(a))["latency_ms"] <= 6)
    assert max(m["accuracy"] for m in kept) == pytest.approx(best)
    assert len(kept) > 25


def test_until_a_limit_is_kept_it_looks_for_what_keeps_it() -> None:
    """One architecture of 216 keeps the limit, where accuracy says nothing of it."""

    def outcome(architecture: Architecture) -> Metrics:
        gaps = zip(architecture, (1, 4, 2), strict=True)
        return {"accuracy": float(sum(architecture)), "latency_ms": 1.0 + sum((a - b) ** 2 for a, b in gaps)}

    tight = replace(LATENCY, limit=1.0)
    assert found(search(Bayesian(Widths(), [ACCURACY, tight], 0), 20, outcome=outcome), (1, 4, 2))


def test_beside_a_limit_that_nothing_keeps_the_nearest_is_looked_for() -> None:
    impossible = replace(LATENCY, limit=0.001)
    assert found(search(Bayesian(Widths(), [ACCURACY, impossible], 0), 30), (0, 0, 0))


def test_three_objectives_are_scalarised() -> None:
    size = Objective(metric="size", goal="min")
    history = search(
        Bayesian(Widths(), [ACCURACY, LATENCY, size], 0), 20, outcome=lambda a: {**measure(a), "size": float(a[0])}
    )
    assert len({trial.architecture for trial in history}) == 20


# ---------------------------------------------------------------- earlier studies


def test_an_earlier_study_of_similar_data_shows_the_way() -> None:
    priors = as_priors(search(Bayesian(Widths(), [ACCURACY], 1), 40))
    strategy = Bayesian(Widths(), [ACCURACY], 0)
    cold, warm = search(strategy, 8), search(strategy, 8, start=priors)
    assert not found(cold, (4, 3, 2))
    assert found(warm, (4, 3, 2))


def test_what_earlier_studies_predict_to_be_best_comes_first() -> None:
    priors = as_priors(search(Bayesian(Widths(), [ACCURACY], 1), 40))
    *proven, fourth = Bayesian(Widths(), [ACCURACY], 0).propose(priors, 4)
    assert proven[0].architecture == (4, 3, 2)
    assert all(p.why == (("drawn", "the best that earlier studies predict"),) for p in proven)
    assert dict(fourth.why)["acquisition"]


def test_an_earlier_study_becomes_one_nonlinear_and_one_linear_column() -> None:
    priors = as_priors(search(Bayesian(Widths(), [ACCURACY], 1), 40))
    known = population(Widths())
    sources = Sources([priors], [ACCURACY], known)
    codes = known.encoder.reference
    (predicted,), (beside,) = sources.predict(codes), sources.beside(codes)
    accuracy = [measure(architecture)["accuracy"] for architecture in product(range(6), repeat=3)]
    assert predicted.shape == (216, 1)
    assert predicted.mean() == pytest.approx(0)
    assert predicted.std() == pytest.approx(1)
    assert np.corrcoef(predicted[:, 0], accuracy)[0, 1] > 0.7
    assert beside.shape[1] == codes.shape[1] + 2
    assert beside[:, -1] == pytest.approx(predicted[:, 0])
    assert beside[:, len(known.encoder.columns.nonlinear)] == pytest.approx(predicted[:, 0] * np.sqrt(0.5))


def test_an_earlier_study_that_misleads_does_no_lasting_harm() -> None:
    priors = as_priors(
        search(Bayesian(Widths(), [ACCURACY], 1), 40, outcome=lambda a: measure((5 - a[0], 5 - a[1], a[2])))
    )
    assert found(search(Bayesian(Widths(), [ACCURACY], 0), 35, start=priors), (4, 3, 2))


def test_of_too_few_earlier_results_nothing_is_made() -> None:
    priors = as_priors(search(Bayesian(Widths(), [ACCURACY], 1), 2))
    (proposal,) = Bayesian(Widths(), [ACCURACY], 0).propose(priors, 1)
    assert proposal.why == (("drawn", "at random"),)
