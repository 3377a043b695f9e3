"""Every registered space: sound decisions, and networks that are what the signature asks for."""

from __future__ import annotations

import numpy as np
import play
import pytest
import torch

from nas_core import registry
from nas_core import space as algebra
from nas_core.interfaces import Scalable
from nas_core.types import Architecture

every_space = pytest.mark.parametrize("name", registry.names("spaces"))
every_network = pytest.mark.parametrize("name", sorted({*registry.names("spaces")} - play.WITHOUT_NETWORKS))


def some(name: str, n: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [algebra.sample(play.make_space(name), rng) for _ in range(n)]


def rows(name: str, n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(port.classes, (n, *port.shape), generator=generator)
        if port.dtype == "int64"
        else torch.randn(n, *port.shape, generator=generator)
        for port in play.signature(name).inputs
    ]


def outputs(given: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return given if isinstance(given, tuple) else (given,)


@every_space
def test_decisions_are_sound_and_the_same_every_time(name: str) -> None:
    assert algebra.digest(play.make_space(name)) == algebra.digest(play.make_space(name))
    assert algebra.size(play.make_space(name)) > 1


@every_space
def test_the_canonical_form_is_a_member_and_its_own(name: str) -> None:
    space = play.make_space(name)
    for architecture in some(name, 50):
        canonical = algebra.canonical(space, architecture)
        algebra.validate(space, canonical)
        assert algebra.canonical(space, canonical) == canonical


@every_network
def test_networks_give_finite_logits_per_output_and_can_be_trained(name: str) -> None:
    space = play.make_space(name)
    for architecture in some(name, 5):
        network = space.build(architecture)
        logits = outputs(network(*rows(name, 8)))
        for port, each in zip(play.signature(name).outputs, logits, strict=True):
            assert each.shape == (8, *port.shape)
            assert each.isfinite().all()
        torch.stack([each.logsumexp(dim=1).sum() - each[:, 0].sum() for each in logits]).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@every_network
def test_rows_do_not_see_each_other_in_eval_mode(name: str) -> None:
    space = play.make_space(name)
    torch.manual_seed(0)
    network = space.build(some(name, 1)[0]).eval()
    alone = [row[:1] for row in rows(name, 8)]
    torch.testing.assert_close(outputs(network(*rows(name, 8)))[0][:1], outputs(network(*alone))[0])


@every_network
def test_a_build_is_determined_by_the_seed_of_torch(name: str) -> None:
    space = play.make_space(name)
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(space.build(some(name, 1)[0]).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@every_network
def test_a_space_that_can_be_narrowed_keeps_its_decisions_and_loses_channels(name: str) -> None:
    space = play.make_space(name)
    if not isinstance(space, Scalable):
        pytest.skip("its networks have one width")
    half, same = space.scaled(0.5), space.scaled(1.0)
    assert algebra.digest(half) == algebra.digest(same) == algebra.digest(space)
    for architecture in some(name, 3):
        whole, narrow = (sum(p.numel() for p in made.build(architecture).parameters()) for made in (space, half))
        assert narrow < 0.7 * whole
        assert sum(p.numel() for p in same.build(architecture).parameters()) == whole
        network = space.scaled(0.01).build(architecture)
        assert outputs(network(*rows(name, 8)))[0].isfinite().all()


@every_network
def test_networks_for_an_image_take_smaller_ones(name: str) -> None:
    if play.signature(name) != play.SIGNATURES["image"]:
        pytest.skip("not for images")
    for architecture in some(name, 5):
        network = play.make_space(name).build(architecture)
        assert network(torch.randn(8, 3, 8, 8)).isfinite().all()
