"""Every space that has a supernet: a gate of one option is the stand-alone network, and nothing else is computed."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import play
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas_core import registry
from nas_core import space as algebra
from nas_core.errors import InputError
from nas_core.interfaces import Gates, Relaxable
from nas_core.types import Architecture, Live

RELAXABLE = [
    name
    for name in registry.names("spaces")
    if name not in play.WITHOUT_NETWORKS and isinstance(play.make_space(name), Relaxable)
]
every_supernet = pytest.mark.parametrize("name", RELAXABLE)


@cache
def space_of(name: str) -> Any:
    return play.make_space(name)


def some(name: str, n: int) -> list[Architecture]:
    rng = np.random.default_rng(1)
    return [algebra.sample(space_of(name), rng) for _ in range(n)]


def images(name: str, n: int = 6) -> Tensor:
    (port,) = play.signature(name).inputs
    return torch.randn(n, *port.shape, generator=torch.Generator().manual_seed(0))


def shared(name: str) -> nn.Module:
    """A supernet whose normalisations are as after some training: each with an offset and statistics of its own."""
    torch.manual_seed(0)
    network: nn.Module = space_of(name).supernet()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def unweighted(live: Live) -> Gates:
    return Gates(live, (None,) * len(live))


def one_hot(name: str, live: Live) -> list[list[float]]:
    return [
        [float(option in chosen) for option in range(options)]
        for options, chosen in zip(space_of(name).slots, live, strict=True)
    ]


def test_the_spaces_that_promise_a_supernet_have_one() -> None:
    assert {"macro", "nas-bench-201"} <= set(RELAXABLE)


@every_supernet
def test_an_architecture_is_derived_from_its_own_path(name: str) -> None:
    for architecture in some(name, 30):
        scores = one_hot(name, space_of(name).path(architecture))
        assert space_of(name).derive(scores) == architecture


@every_supernet
def test_a_stand_alone_network_is_the_supernet_of_its_path(name: str) -> None:
    for architecture in some(name, 4):
        states = []
        for build in (space_of(name).build, lambda a: space_of(name).supernet(space_of(name).path(a))):
            torch.manual_seed(0)
            states.append(build(architecture).state_dict())
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@every_supernet
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("weighted", [False, True], ids=["path", "one-hot"])
def test_a_gate_of_one_option_is_the_stand_alone_network(name: str, training: bool, weighted: bool) -> None:
    network = shared(name).train(training)
    for architecture in some(name, 8):
        live = space_of(name).path(architecture)
        alone = space_of(name).build(architecture).train(training)
        alone.load_state_dict(space_of(name).extract(network, live))
        weight = tuple(torch.tensor(row) for row in one_hot(name, live)) if weighted else (None,) * len(live)
        torch.testing.assert_close(
            network(images(name), gates=Gates(live, weight)), alone(images(name)), rtol=1e-4, atol=1e-5
        )


@every_supernet
def test_a_path_moves_its_own_statistics_as_the_stand_alone_network_does(name: str) -> None:
    network = shared(name)
    (architecture,) = some(name, 1)
    live = space_of(name).path(architecture)
    alone = space_of(name).build(architecture)
    alone.load_state_dict(space_of(name).extract(network, live))
    network(images(name), gates=unweighted(live))
    alone(images(name))
    moved = space_of(name).extract(network, live)
    for key, expected in alone.state_dict().items():
        torch.testing.assert_close(moved[key], expected, rtol=1e-4, atol=1e-5)


@every_supernet
def test_all_options_by_one_hot_weights_are_the_stand_alone_network(name: str) -> None:
    """Whatever else is computed counts for nothing, as long as no edge is dead: normalisation makes constants of it."""
    network = shared(name).eval()
    everything = tuple(tuple(range(options)) for options in space_of(name).slots)
    alive = [a for a in some(name, 50) if "none" not in algebra.describe(space_of(name), a).values()]
    for architecture in alive[:4]:
        live = space_of(name).path(architecture)
        alone = space_of(name).build(architecture).eval()
        alone.load_state_dict(space_of(name).extract(network, live))
        weight = tuple(torch.tensor(row) for row in one_hot(name, live))
        torch.testing.assert_close(
            network(images(name), gates=Gates(everything, weight)), alone(images(name)), rtol=1e-4, atol=2e-5
        )


@every_supernet
def test_only_what_is_on_the_path_has_a_gradient(name: str) -> None:
    for architecture in some(name, 3):
        network = shared(name)
        live = space_of(name).path(architecture)
        network(images(name), gates=unweighted(live)).square().sum().backward()
        touched = sum(int(p.grad.count_nonzero()) for p in network.parameters() if p.grad is not None)
        alone = space_of(name).build(architecture)
        alone.load_state_dict(space_of(name).extract(network, live))
        alone(images(name)).square().sum().backward()
        expected = sum(int(p.grad.count_nonzero()) for p in alone.parameters() if p.grad is not None)
        assert touched == pytest.approx(expected, rel=0.01)  # what is zero by rounding may differ


def full_convolution(_x: Any, weight: Any, _bias: Any, *rest: Any, out_val: Tensor, **_: Any) -> int:
    """The floating-point operations of a convolution; none for one channel each, which pooling may be computed by."""
    groups = rest[5]
    return 0 if groups > 1 else 2 * out_val.numel() * int(np.prod(weight.shape[1:]))


full_convolution._get_raw = True  # type: ignore[attr-defined]


def flops(network: nn.Module, x: Tensor, **gates: Gates) -> int:
    counted = {torch.ops.aten.convolution: full_convolution}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter, torch.no_grad():
        network(x, **gates)
    return counter.get_total_flops()


@every_supernet
def test_what_is_not_on_the_path_is_not_computed(name: str) -> None:
    network = shared(name)
    for architecture in some(name, 4):
        live = space_of(name).path(architecture)
        alone = flops(space_of(name).build(architecture), images(name))
        assert flops(network, images(name), gates=unweighted(live)) == alone


@every_supernet
def test_every_weight_of_an_architecture_has_a_gradient_of_its_own(name: str) -> None:
    network = shared(name).eval()
    everything = tuple(tuple(range(options)) for options in space_of(name).slots)
    scores = [torch.zeros(options, requires_grad=True) for options in space_of(name).slots]
    weight = tuple(score.softmax(0) for score in scores)
    network(images(name), gates=Gates(everything, weight)).square().sum().backward()
    assert all(score.grad is not None and score.grad.isfinite().all() and score.grad.any() for score in scores)


@every_supernet
def test_the_state_of_fewer_options_is_that_of_their_supernet(name: str) -> None:
    network = shared(name).eval()
    rng = np.random.default_rng(2)
    live = tuple(
        tuple(sorted(rng.choice(options, max(1, options // 2), replace=False).tolist()))
        for options in space_of(name).slots
    )
    part = space_of(name).supernet(live).eval()
    part.load_state_dict(space_of(name).extract(network, live))
    weight = tuple(torch.full((options,), 1 / options) for options in space_of(name).slots)
    gates = Gates(live, weight)
    torch.testing.assert_close(
        part(images(name), gates=gates), network(images(name), gates=gates), rtol=1e-4, atol=1e-5
    )


@every_supernet
def test_an_option_that_a_supernet_lacks_is_refused(name: str) -> None:
    architectures = some(name, 8)
    live = space_of(name).path(architectures[0])
    part = space_of(name).supernet(live)
    other = tuple(tuple(range(options)) for options in space_of(name).slots)
    with pytest.raises(InputError, match="not in this supernet"):
        part(images(name), gates=unweighted(other))


@every_supernet
@pytest.mark.parametrize("live", [((0,),), ((99,),)], ids=["slots", "options"])
def test_gates_of_another_space_are_refused(name: str, live: Live) -> None:
    wrong = live if live[0] == (0,) else (*live, *[(0,)] * (len(space_of(name).slots) - 1))
    with pytest.raises(InputError, match=r"live"):
        space_of(name).supernet(wrong)
    with pytest.raises(InputError, match=r"live"):
        shared(name)(images(name), gates=unweighted(wrong))
