"""How much memory this machine can still give, as far as Linux tells."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # the first version of control groups writes a huge number for "no limit"


def available_mb(proc: Path = _PROC, groups: Path = _GROUPS) -> float | None:
    """Return what may still be taken, in MB of 10^6 bytes: of the machine, or of the control group if that is less.

    None where neither tells. Of control groups, the one that the process sees as root is looked at, as in a container.
    """
    known = [amount for amount in (_machine(proc), _group(groups)) if amount is not None]
    return min(known) / 1e6 if known else None


def resident_mb(proc: Path = _PROC) -> float | None:
    """Return what this process holds in memory, in MB of 10^6 bytes; None where the kernel does not tell."""
    kilobytes = _field(proc / "self" / "status", "VmRSS:")
    return None if kilobytes is None else kilobytes * 1024 / 1e6


def _machine(proc: Path) -> int | None:
    kilobytes = _field(proc / "meminfo", "MemAvailable:")
    return None if kilobytes is None else kilobytes * 1024


def _group(groups: Path) -> int | None:
    for limit, used in (
        (groups / "memory.max", groups / "memory.current"),
        (groups / "memory" / "memory.limit_in_bytes", groups / "memory" / "memory.usage_in_bytes"),
    ):
        most, now = _number(limit), _number(used)
        if most is not None and now is not None and most < _UNLIMITED:
            return max(0, most - now)
    return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # the word "max"
        return None


def _field(path: Path, name: str) -> int | None:
    try:
        line = next(line for line in path.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return None
