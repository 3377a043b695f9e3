"""The processor's own meter of energy, where Linux shows it (Running Average Power Limit).

Each package is a folder `intel-rapl:<n>` of `/sys/class/powercap`, AMD's too: `energy_uj` counts microjoules up to
`max_energy_range_uj` and begins again at 0. The zones within a package (`intel-rapl:<n>:<m>`) are parts of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_PACKAGE = re.compile(r"intel-rapl:\d+")


class Rapl:
    """The meters of all packages below `root`; empty where there is none, or where they may not be read."""

    def __init__(self, root: Path = POWERCAP) -> None:
        zones = sorted(root.iterdir()) if root.is_dir() else []
        self._packages = [zone for zone in zones if _PACKAGE.fullmatch(zone.name) and _readable(zone)]

    def __bool__(self) -> bool:
        return bool(self._packages)

    def read(self) -> dict[Path, int]:
        """Return what the meters show now, in microjoules."""
        return {zone: int((zone / "energy_uj").read_text()) for zone in self._packages}

    def joules_since(self, before: Mapping[Path, int]) -> float:
        """Return what all packages have used since they showed `before`: less than one turn of a meter, a minute or so.

        A meter that shows less than before has begun again.
        """
        total = 0
        for zone, now in self.read().items():
            used = now - before[zone]
            total += used if used >= 0 else used + int((zone / "max_energy_range_uj").read_text())
        return total / 1e6


def _readable(zone: Path) -> bool:
    """Tell whether the zone's meter can be read: newer kernels show it to root only."""
    try:
        int((zone / "energy_uj").read_text())
        int((zone / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return False
    return True
