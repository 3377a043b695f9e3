"""The macro space's networks of all depths as one. N is the batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING

from torch import Tensor, nn

from nas_core.errors import InputError
from nas_core.spaces import _elastic
from nas_core.spaces._gates import checked
from nas_core.spaces._macro import MacroNetwork
from nas_core.types import Live, Signature

if TYPE_CHECKING:
    from nas_core.interfaces import Gates


class MacroSupernet(nn.Module):
    """What `live` says of the macro space: image (N, c, h, w) -> logits (N, classes).

    Where maps are halved, and with it how many channels a layer has, is a matter of the depth: a network of each depth
    has the first channels of the same tensors. A mixture of depths is the weighted sum of their logits; without gates
    their sum. Slots are the decisions: the depth, and per layer its operation and the skip connections that end there.
    """

    def __init__(
        self, signature: Signature, names: Sequence[str], slots: Sequence[int], live: Live, channels: int
    ) -> None:
        super().__init__()
        builds = {
            option: partial(macro_network, signature, names, slots, live, option, channels)
            for option in sorted(live[0])
        }
        self._slots = tuple(slots)
        self.tensors = _elastic.shared(build() for build in builds.values())
        self._networks = {option: _elastic.on_meta(build) for option, build in builds.items()}

    def forward(self, image: Tensor, gates: Gates | None = None) -> Tensor:
        if gates is not None:
            checked(gates.live, self._slots)
        tensors = self.tensors.state_dict(keep_vars=True)
        found: list[Tensor] = []
        for option in self._networks if gates is None else gates.live[0]:
            network = self._network(option).train(self.training)
            own = None if gates is None else gates._replace(live=((option,), *gates.live[1:]))
            found.append(_elastic.call(network, tensors, (image,), gates=own))
        return reduce(add, found)

    def state_of(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the state of `network`, a supernet of fewer options, with the tensors of this one."""
        tensors = self.tensors.state_dict()
        if isinstance(network, MacroSupernet):
            found = _elastic.extracted(network.tensors, tensors)
            return {f"tensors.{name}": tensor for name, tensor in found.items()}
        return _elastic.extracted(network, tensors)

    def _network(self, option: int) -> nn.Module:
        if option not in self._networks:
            raise InputError(f"gates.live[0]: {option + 1} layers are not in this supernet; build it with them")
        return self._networks[option]


def macro_supernet(
    signature: Signature, names: Sequence[str], slots: Sequence[int], live: Live, channels: int
) -> nn.Module:
    """Return the network of the options `live`; of one depth, it is a stand-alone network with more in its layers."""
    if not live[0]:
        raise InputError("live[0]: must have a number of layers, got none")
    if len(live[0]) > 1:
        return MacroSupernet(signature, names, slots, live, channels)
    return macro_network(signature, names, slots, live, live[0][0], channels)


def macro_network(
    signature: Signature, names: Sequence[str], slots: Sequence[int], live: Live, option: int, channels: int
) -> MacroNetwork:
    """Return the network of `option` + 1 layers with the options `live` in these."""
    rest = iter(live[1:])
    layers = [
        ([names[chosen] for chosen in next(rest)], [source for source in range(1, layer) if 1 in next(rest)])
        for layer in range(1, option + 2)
    ]
    for number, (operations, _) in enumerate(layers, start=1):
        if not operations:
            raise InputError(f"live: layer {number} must have an operation, got none")
    return MacroNetwork(signature, layers, channels, names, slots)


def extract(supernet: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Return the state of `network`, a supernet without memory of fewer options, with the weights of `supernet`."""
    try:
        if isinstance(supernet, MacroSupernet):
            return supernet.state_of(network)
        return _elastic.extracted(network, supernet.state_dict())
    except KeyError as error:
        raise InputError(f"live: {error.args[0]} is not in this supernet; build it with its options") from error
