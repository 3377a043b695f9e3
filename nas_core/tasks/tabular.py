"""Classification of table rows: numeric columns in one tensor, a tensor of indices per categorical column."""

from __future__ import annotations

from nas_core.errors import InputError
from nas_core.tasks.classification import Arrays, Classification
from nas_core.types import Port

__all__ = ["Arrays", "Tabular"]


class Tabular(Classification):
    """Rows of a table: float32 ports of shape (columns,), int64 ports of shape () with their number of classes."""

    def _check_ports(self, ports: tuple[Port, ...]) -> None:
        if not ports:
            raise InputError("task: a table has one input port at least, got none")
        for port in ports:
            numeric = port.dtype == "float32" and len(port.shape) == 1 and port.shape[0] > 0
            categorical = port.dtype == "int64" and port.shape == () and port.classes > 0
            if not numeric and not categorical:
                raise InputError(
                    f"task: a table's port is float32 (columns,), or int64 () with classes, got {port.name!r} "
                    f"{port.dtype} {port.shape} of {port.classes} classes; choose the kind of task that the data is of"
                )
