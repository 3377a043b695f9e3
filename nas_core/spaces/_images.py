"""What a space for one image and one target asks of a signature."""

from __future__ import annotations

from nas_core.errors import InputError
from nas_core.types import Signature

SMALLEST = 8
"""Pixels of an image's shorter side, at least: networks that halve it twice still have 2."""


def check_one_image(space: str, signature: Signature) -> None:
    """Raise InputError unless `signature` is one float32 image (channels, height, width) and one target (classes,)."""
    ports = signature.inputs
    shape = ports[0].shape if len(ports) == 1 and ports[0].dtype == "float32" else ()
    if len(shape) != 3 or shape[0] < 1 or min(shape[1:]) < SMALLEST:
        found = ", ".join(f"{port.dtype} {port.shape}" for port in ports) or "none"
        raise InputError(
            f"{space}: needs one float32 input of shape (channels, height, width) with sides of {SMALLEST} pixels or "
            f"more, got {found}; this space is for images, choose one for such data"
        )
    shapes = [port.shape for port in signature.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 1:
        raise InputError(f"{space}: needs one output port of shape (classes,), got shapes {shapes}")
