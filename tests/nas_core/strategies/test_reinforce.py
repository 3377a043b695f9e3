from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.strategies.reinforce import Reinforce
from nas_core.types import Architecture, Decision, Objective, Proposal, Status, Trial

ACCURACY = Objective(metric="accuracy", goal="max")


@dataclass(frozen=True)
class Grid:
    decisions: tuple[Decision, ...] = tuple(Decision(name=f"place_{i}", options=tuple("abcde")) for i in range(6))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


def ok(number: int, accuracy: float, architecture: Architecture | None = None, **changes: Any) -> Trial:
    drawn = algebra.sample(Grid(), np.random.default_rng(number)) if architecture is None else architecture
    metrics = {"accuracy": accuracy, "latency_ms": 1.0}
    trial = Trial(number=number, architecture=drawn, status=Status.OK, finished=number, metrics=metrics)
    return replace(trial, **changes)


def reinforce(*objectives: Objective, seed: int = 0, **options: Any) -> Reinforce:
    return Reinforce(Grid(), objectives or (ACCURACY,), seed, **options)


def share(proposals: Sequence[Proposal], option: int, place: int = 0) -> float:
    return float(np.mean([proposal.architecture[place] == option for proposal in proposals]))


def taught(count: int, option: int, figure: str = "accuracy", high: float = 0.9, low: float = 0.1) -> list[Trial]:
    """Random architectures; those with `option` in the first place have the `high` figure."""
    trials = [ok(i, 0.5) for i in range(count)]
    return [
        replace(t, metrics={**(t.metrics or {}), figure: high if t.architecture[0] == option else low}) for t in trials
    ]


# ---------------------------------------------------------------- learning


def test_at_first_all_options_are_nearly_as_likely() -> None:
    proposals = reinforce().propose([], 400)
    # Within 4 standard deviations of a fifth.
    assert all(
        share(proposals, option, place) == pytest.approx(0.2, abs=0.08) for option in range(5) for place in (0, 5)
    )


def test_it_learns_which_option_does_well() -> None:
    assert share(reinforce().propose(taught(200, option=2), 50), 2) > 0.9


def test_it_learns_in_the_direction_of_the_objective() -> None:
    fast = Objective(metric="latency_ms", goal="min")
    assert share(reinforce(fast).propose(taught(200, 2, "latency_ms", high=9.0), 50), 2) < 0.02


def test_it_learns_what_follows_from_a_choice_before() -> None:
    """Good is what repeats the option of the first place in the second: each option alone is as good as any."""
    trials = [ok(i, 0.5) for i in range(400)]
    trials = [ok(t.number, float(t.architecture[0] == t.architecture[1])) for t in trials]
    proposals = reinforce(learning_rate=0.03).propose(trials, 60)
    repeats = [proposal.architecture[0] == proposal.architecture[1] for proposal in proposals]
    assert np.mean(repeats) > 0.5  # 0.2 by chance
    assert len({proposal.architecture[0] for proposal in proposals}) > 1


def test_what_breaks_a_limit_gets_the_least_reward() -> None:
    """Option 2 is the most accurate by far and too slow."""
    fast = Objective(metric="latency_ms", goal="min", limit=5.0)
    slow = [
        replace(
            t, metrics={"accuracy": (t.metrics or {})["accuracy"], "latency_ms": 9.0 if t.architecture[0] == 2 else 1}
        )
        for t in taught(200, option=2)
    ]
    assert share(reinforce(ACCURACY, fast).propose(slow, 50), 2) < 0.02


def test_the_scale_of_figures_does_not_matter() -> None:
    history = [ok(i, i * 7 % 40 / 40) for i in range(40)]
    scaled = [ok(i, (i * 7 % 40 / 40) ** 3 * 1000) for i in range(40)]
    assert reinforce().propose(scaled, 5) == reinforce().propose(history, 5)


def test_more_entropy_keeps_it_open() -> None:
    history = taught(200, option=2)
    assert share(reinforce(entropy=3.0).propose(history, 50), 2) < share(reinforce().propose(history, 50), 2) - 0.3


# ---------------------------------------------------------------- the order of lessons


@pytest.mark.parametrize(
    "outsider",
    [
        ok(40, 0.99, status=Status.PRUNED),
        ok(40, 0.99, fidelity=0.5),
        ok(40, 0.99, status=Status.FAILED, metrics=None),
        ok(40, 0.99, status=Status.PENDING, metrics=None, finished=None),
    ],
)
def test_only_what_finished_in_full_is_a_lesson(outsider: Trial) -> None:
    strategy = reinforce()
    (proposal,) = strategy.propose([*(ok(i, i / 40) for i in range(40)), outsider], 1)
    assert dict(proposal.why)["lessons"] == 40


def test_it_learns_in_the_order_of_completion() -> None:
    history = [ok(i, i % 7 / 7) for i in range(40)]
    late = [replace(trial, finished=39 - trial.number) for trial in history]
    renumbered = [replace(trial, number=i, finished=i) for i, trial in enumerate(reversed(history))]
    ours = reinforce(learning_rate=0.1).propose(late, 20)
    assert ours != reinforce(learning_rate=0.1).propose(history, 20)
    assert ours == reinforce(learning_rate=0.1).propose(renumbered, 20)


def test_trials_of_an_earlier_cycle_are_the_first_lessons_and_placed_among_themselves() -> None:
    """What was the worst of the earlier cycle on other data says nothing of a first own trial."""
    prior = [replace(t, origin=f"before#{t.number}", finished=None) for t in taught(200, option=2)]
    assert share(reinforce().propose(prior, 50), 2) > 0.9
    first = reinforce(entropy=0.0).propose([*prior, ok(200, 0.01, (2,) * 6)], 20)
    assert first == reinforce(entropy=0.0).propose([*prior, ok(200, 0.99, (2,) * 6)], 20)


def test_one_that_lived_through_it_and_one_made_now_agree() -> None:
    strategy, history = reinforce(), [ok(i, i * 7 % 40 / 40) for i in range(40)]
    for length in (0, 10, 25, 40, 12, 40):
        assert strategy.propose(history[:length], 3) == reinforce().propose(history[:length], 3)


def test_a_history_that_is_no_longer_what_was_learned_is_learned_anew() -> None:
    history = [ok(i, i * 7 % 40 / 40) for i in range(40)]
    other = [ok(3, 0.99) if trial.number == 3 else trial for trial in history]
    strategy = reinforce(learning_rate=0.1)
    strategy.propose(history, 1)
    assert strategy.propose(other, 20) == reinforce(learning_rate=0.1).propose(other, 20)


# ---------------------------------------------------------------- drawing


def test_a_controller_that_is_sure_looks_around_its_favourite() -> None:
    history = [ok(i, 1.0 - sum(x != 2 for x in a) / 6, a) for i, a in enumerate(_drawn(300))]
    proposals = reinforce(learning_rate=0.03, entropy=0.0).propose([*history, ok(300, 1.0, (2,) * 6)], 30)
    away = [sum(x != 2 for x in proposal.architecture) for proposal in proposals]
    assert not any("left over" in str(proposal.why) for proposal in proposals)
    assert np.mean(away) < 2.5
    assert max(float(dict(proposal.why)["chance"]) for proposal in proposals) > 0


def _drawn(count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return list(dict.fromkeys(algebra.sample(Grid(), rng) for _ in range(count)))


def test_every_draw_keeps_the_limits_of_a_space() -> None:
    class Tight(Grid):
        def admits(self, architecture: Architecture) -> bool:
            return sum(architecture) <= 3

    proposals = Reinforce(Tight(), [ACCURACY], 0).propose([], 15)
    assert not any("left over" in str(proposal.why) for proposal in proposals)
    assert max(sum(proposal.architecture) for proposal in proposals) <= 3


def test_inactive_decisions_are_skipped() -> None:
    """A gate that is off hides a place; what the controller learns of that place is of when it is there."""
    gate = Decision(name="gate", options=("off", "on"))
    behind = Decision(name="behind", options=tuple("abc"), active_if=((0, frozenset({1})),))
    space = Grid((gate, behind, Decision(name="free", options=tuple("abcdefgh"))))
    figure = {(0, 0): 0.1, (1, 0): 0.4, (1, 1): 0.9, (1, 2): 0.4}
    rng = np.random.default_rng(0)
    drawn = [algebra.sample(space, rng) for _ in range(300)]
    history = [ok(i, figure[a[0], a[1]], a, origin=f"before#{i}") for i, a in enumerate(drawn)]
    proposals = Reinforce(space, [ACCURACY], 0).propose(history, 8)
    assert np.mean([proposal.architecture[:2] == (1, 1) for proposal in proposals]) > 0.7


# ---------------------------------------------------------------- NAS-Bench-201


def test_it_lands_where_its_authors_say(data: Path) -> None:
    """Dong and Yang 2020, Table 5: by validation accuracy after 12 epochs, for 12,000 s, test accuracy 93.85 ± 0.37."""
    with np.load(data / "nb201.npz", allow_pickle=False) as table:
        row = {tuple(map(int, ops)): i for i, ops in enumerate(table["ops"])}
        validation, test = table["cifar10/val_acc_12"], table["cifar10/test_acc_200"]
        seconds = table["cifar10/train_time_200_s"] * 12 / 200

    def found(seed: int) -> float:
        strategy, history, left = reinforce(seed=seed), list[Trial](), 12_000.0
        while True:
            (proposal,) = strategy.propose(history, 1)
            left -= seconds[row[proposal.architecture]]
            if left < 0:
                best = max(history, key=lambda trial: (trial.metrics or {})["accuracy"])
                return float(test[row[best.architecture]])
            history.append(ok(len(history), float(validation[row[proposal.architecture]]), proposal.architecture))

    assert np.mean([found(seed) for seed in range(25)]) == pytest.approx(93.85, abs=0.37)


# ---------------------------------------------------------------- edges


def test_what_it_has_learned_is_kept_and_a_new_outcome_costs_one_lesson() -> None:
    """The first answer takes a thousand lessons; the next one of them, and less than a twentieth of the time."""
    strategy, history = reinforce(), [ok(i, i * 7 % 101 / 101) for i in range(1000)]

    def seconds() -> float:
        start = time.process_time()
        strategy.propose(history, 1)
        return time.process_time() - start

    cold, warm = seconds(), []
    for number in range(1000, 1005):
        history.append(ok(number, 0.5))
        warm.append(seconds())
    assert min(warm) < cold / 20


def test_it_needs_no_torch_and_leaves_global_generators_alone() -> None:
    program = (
        "import random, sys\n"
        "import numpy as np\n"
        "from nas_core.spaces.chain import Chain\n"
        "from nas_core.strategies.reinforce import Reinforce\n"
        "from nas_core.types import Objective, Port, Signature\n"
        "ports = [(Port(name=n, shape=(2,)),) for n in 'xy']\n"
        "before = random.getstate(), np.random.get_state()[2]\n"
        "Reinforce(Chain(Signature(inputs=ports[0], outputs=ports[1])), [Objective(metric='m', goal='max')], 0)"
        ".propose([], 3)\n"
        "assert (random.getstate(), np.random.get_state()[2]) == before\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_metric_that_nobody_measured_is_named() -> None:
    with pytest.raises(InputError, match="no metric 'f1' was measured; choose one of accuracy, latency_ms"):
        reinforce(Objective(metric="f1", goal="max")).propose([ok(0, 0.1)], 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden: must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: must be > 0, got 0"),
        ({"entropy": -1.0}, "entropy: must be >= 0, got -1"),
        ({"baseline_decay": 1.0}, "baseline_decay: must be from 0 to below 1, got 1"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reinforce(**options)
