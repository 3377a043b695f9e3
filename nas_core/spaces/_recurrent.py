"""Recurrent layers that ONNX gets whole. N is the batch, L the length of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GATES = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""The places of torch's gates in the order of ONNX: update, reset, new; and input, output, forget, cell."""

_ATTRIBUTES: dict[str, dict[str, int]] = {"gru": {"linear_before_reset": 1}, "lstm": {}}


class Direction(nn.Module):
    """A GRU or LSTM from front to back: (N, L, before) -> (N, L, after).

    The same as `nn.GRU` and `nn.LSTM`, with the same first weights. But those are exported as a loop over time, if at
    all; this is exported as the one operator that ONNX has for it.
    """

    def __init__(self, cell: str, before: int, after: int) -> None:
        super().__init__()
        self.cell = cell
        self.width = after
        rows = len(_GATES[cell]) * after
        bound = after**-0.5
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
            for shape in ((rows, before), (rows, after), (rows,), (rows,))
        )

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return self._symbolic(x)
        state = x.new_zeros(1, x.shape[0], self.width)
        weights = list(self.weights)
        if self.cell == "gru":
            return torch.gru(x, state, weights, True, 1, 0.0, self.training, False, True)[0]
        return torch.lstm(x, (state, state), weights, True, 1, 0.0, self.training, False, True)[0]

    def _symbolic(self, x: Tensor) -> Tensor:
        from_input, from_state, input_bias, state_bias = (self._ordered(weight) for weight in self.weights)
        y = torch.onnx.ops.symbolic(
            self.cell.upper(),
            [x.transpose(0, 1), from_input[None], from_state[None], torch.cat([input_bias, state_bias])[None]],
            {"hidden_size": self.width, **_ATTRIBUTES[self.cell]},
            dtype=x.dtype,
            shape=[x.shape[1], 1, x.shape[0], self.width],
        )
        return y.squeeze(1).transpose(0, 1)

    def _ordered(self, weight: Tensor) -> Tensor:
        order = _GATES[self.cell]
        gates = weight.view(len(order), self.width, -1)
        return torch.stack([gates[i] for i in order]).view_as(weight)
