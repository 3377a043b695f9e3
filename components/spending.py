"""What a search may take, and what it has: seconds of trials as hours of CPU and GPU, and as money."""

from __future__ import annotations

from collections.abc import Mapping

from components.spec import SearchSpec
from nas_core.types import Budget, Spent


def budget(search: SearchSpec) -> Budget:
    """Return where the search stops; hours and money as seconds of trials, the least of which counts."""
    cap, price = search.budget, search.runner.price
    cpus, gpus = occupied(search)
    caps = [
        amount * 3600 / an_hour
        for amount, an_hour in ((cap.cpu_hours, cpus), (cap.gpu_hours, gpus), (cap.cost, price.of(cpus, gpus)))
        if amount is not None
    ]
    return Budget(trials=cap.trials, seconds=cap.seconds, trial_seconds=min(caps, default=None))


def spent(search: SearchSpec, spent: Spent) -> dict[str, float | str]:
    """Return what a search has taken in the units of its budget; no GPU hours without a GPU, no money without price."""
    (cpus, gpus), price = occupied(search), search.runner.price
    hours = spent.trial_seconds / 3600
    found: dict[str, float | str] = {"seconds": round(spent.seconds, 3), "cpu_hours": round(hours * cpus, 6)}
    if gpus:
        found["gpu_hours"] = round(hours * gpus, 6)
    if an_hour := price.of(cpus, gpus):
        found |= {"cost": round(hours * an_hour, 6), "currency": price.currency}
    return found


def words(spent: Mapping[str, float | str]) -> str:
    """Return what was spent for a person to read: `0.25 CPU h, 1.50 USD`."""
    found = [f"{spent[key]:.2f} {unit} h" for key, unit in (("cpu_hours", "CPU"), ("gpu_hours", "GPU")) if key in spent]
    if "cost" in spent:
        found.append(f"{spent['cost']:.2f} {spent['currency']}")
    return ", ".join(found)


def occupied(search: SearchSpec) -> tuple[float, float]:
    """Return how many CPUs and GPUs a trial occupies."""
    return search.runner.cpus, getattr(search.runner, "gpus", 0.0)
