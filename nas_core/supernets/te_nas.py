"""TE-NAS (Chen, Gong and Wang 2021): a supernet is pruned to one architecture, and nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn

from nas_core.errors import InputError
from nas_core.interfaces import Gates, SearchSpace, State, Task
from nas_core.supernets._common import Batches, check_identity, identity, relaxable, seeded
from nas_core.supernets._te_nas_scores import linear_regions, ntk_condition
from nas_core.types import Architecture, Live, Metrics

_VERSION = 1


class TENAS:
    """Prunes the supernet's slots, in each round the option of each slot that is missed least, until one is left.

    "Neural Architecture Search on ImageNet in Four GPU Hours" (Chen, Gong and Wang 2021). What is missed least: its
    removal lowers the condition number of the neural tangent kernel the most (the network trains more easily) and the
    number of linear regions the least (it stays as expressive), by the sum of the two ranks among all options of the
    round. An option called `none` is gone from the beginning. Options of a slot are averaged. Figures are means over
    `repeats` initialisations, those of a round the same for all options, on `batch` training rows for the kernel, and
    on `lines` lines of `points` points between training rows for the regions.

    A step judges the options of one slot; the last step of a round prunes. InputError for a space without a supernet,
    and for options out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        seed: int,
        *,
        repeats: int = 3,
        batch: int = 16,
        lines: int = 4,
        points: int = 32,
    ) -> None:
        for name, value, least in (("repeats", repeats, 1), ("batch", batch, 2), ("lines", lines, 1)):
            if value < least:
                raise InputError(f"{name}: must be >= {least}, got {value}")
        if points < 2:
            raise InputError(f"points: must be >= 2, got {points}")
        self._space = relaxable("te-nas", space)
        self._task = task
        self._seed = seed
        self._repeats, self._batch, self._lines, self._points = repeats, batch, lines, points
        self._live: Live = _begin(self._space.slots, [d.options for d in space.decisions])
        self._schedule = _schedule(self._live)
        self._step = 0
        self._judged: list[tuple[int, int, float, float]] = []
        self._known: dict[tuple[int, int], Any] = {}
        self._identity = identity(
            "te-nas", _VERSION, space, seed, repeats=repeats, batch=batch, lines=lines, points=points
        )

    @property
    def step(self) -> int:
        """How many slots have been judged, those of all rounds."""
        return self._step

    @property
    def steps(self) -> int:
        """How many have to be in all."""
        return len(self._schedule)

    @property
    def live(self) -> Live:
        """The options that are left."""
        return self._live

    def advance(self) -> Metrics:
        """Judge the options of the next slot, and prune if that was the round's last.

        The metrics are `ntk_condition` and `linear_regions` of what is left, means over the initialisations, and
        `options`, how many that is.
        """
        round_, slot = self._schedule[self._step]
        before = np.zeros(2)
        after = np.zeros((len(self._live[slot]), 2))
        for repeat in range(self._repeats):
            network = self._network(round_, repeat)
            own = self._of_all(network, round_, repeat)
            before += own / self._repeats
            for i, option in enumerate(self._live[slot]):
                found = self._figures(network, _without(self._live, slot, option), round_, repeat)
                after[i] += (own - found) / own / self._repeats
        self._judged += [
            (slot, option, float(row[0]), float(row[1])) for option, row in zip(self._live[slot], after, strict=True)
        ]
        self._step += 1
        if self._step == self.steps or self._schedule[self._step][0] != round_:
            self._prune()
        return {
            "ntk_condition": float(before[0]),
            "linear_regions": float(before[1]),
            "options": float(sum(map(len, self._live))),
        }

    def state(self) -> State:
        """Return what is left and what was judged in the round so far; weights come from the seed."""
        values = {"identity": self._identity, "step": self._step, "live": self._live, "judged": self._judged}
        return State(tensors={}, values=values)

    def load(self, state: State) -> None:
        """Go on from `state`; InputError if another training, or version, saved it."""
        check_identity(self._identity, state)
        self._step = state.values["step"]
        self._live = tuple(tuple(options) for options in state.values["live"])
        self._judged = [(slot, option, ntk, regions) for slot, option, ntk, regions in state.values["judged"]]

    def candidates(self, n: int) -> Sequence[Architecture]:
        """Return the one architecture that is left; none while there are several."""
        if n < 1 or self._step < self.steps:
            return ()
        slots = zip(self._space.slots, self._live, strict=True)
        return (self._space.derive([[float(option in left) for option in range(size)] for size, left in slots]),)

    def _network(self, round_: int, repeat: int) -> nn.Module:
        """Return the supernet of what is left, freshly drawn as He et al. (2015) do."""
        with seeded(self._seed, round_, repeat):
            network = self._space.supernet(self._live)
            for module in network.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(module.weight)
        return network.train()

    def _of_all(self, network: nn.Module, round_: int, repeat: int) -> Any:
        """Return the figures before anything is removed; they are the same for all slots of a round."""
        if (round_, repeat) not in self._known:
            self._known[round_, repeat] = self._figures(network, self._live, round_, repeat)
        return self._known[round_, repeat]

    def _figures(self, network: nn.Module, live: Live, round_: int, repeat: int) -> Any:
        gates = _averaged(live, self._space.slots)
        draw = round_ * self._repeats + repeat
        rows, _ = Batches(self._task, "train", self._batch, self._seed).at(draw)
        ends, _ = Batches(self._task, "train", 2 * self._lines, self._seed + 1).at(draw)
        return np.array([ntk_condition(network, rows, gates), linear_regions(network, ends, gates, self._points)])

    def _prune(self) -> None:
        """Remove from each slot that was judged the option that is missed least."""
        ntk = _ranks([-change for *_, change, _ in self._judged])
        regions = _ranks([change for *_, change in self._judged])
        worst: dict[int, tuple[int, int]] = {}
        for (slot, option, *_), rank in zip(self._judged, ntk + regions, strict=True):
            worst[slot] = min(worst.get(slot, (int(rank), option)), (int(rank), option))
        for slot, (_, option) in worst.items():
            self._live = _without(self._live, slot, option)
        self._judged = []


def _begin(slots: Sequence[int], names: Sequence[Sequence[str]]) -> Live:
    """Return all options but those called `none`."""
    same = [len(options) for options in names] == list(slots)
    return tuple(
        tuple(option for option in range(size) if not (same and size > 1 and names[slot][option] == "none"))
        for slot, size in enumerate(slots)
    )


def _schedule(live: Live) -> list[tuple[int, int]]:
    """Return (round, slot) of all steps: a slot takes part until it has one option left."""

    def rounds() -> Iterator[tuple[int, int]]:
        for round_ in range(max(map(len, live), default=1) - 1):
            yield from ((round_, slot) for slot, options in enumerate(live) if len(options) - round_ > 1)

    return list(rounds())


def _without(live: Live, slot: int, option: int) -> Live:
    return tuple(tuple(o for o in options if (at, o) != (slot, option)) for at, options in enumerate(live))


def _averaged(live: Live, slots: Sequence[int]) -> Gates:
    import torch

    return Gates(live, tuple(torch.full((size,), 1 / max(1, len(own))) for size, own in zip(slots, live, strict=True)))


def _ranks(values: Sequence[float]) -> Any:
    """Return for each value how many are smaller: equal values share a rank."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values)
