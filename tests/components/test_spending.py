from __future__ import annotations

from collections.abc import Callable

import pytest

from components import spending
from components.spec import Spec
from nas_core.errors import InputError
from nas_core.types import Budget, Spent

Tumour = Callable[..., Spec]
RAY = {"kind": "ray", "cpus": 2.0, "gpus": 0.5, "price": {"cpu_hour": 0.1, "gpu_hour": 1.6}}


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [
        ({"cpu_hours": 1.0}, 1800),  # on two CPUs
        ({"gpu_hours": 1.0}, 7200),  # on half a GPU
        ({"cost": 1.0}, 3600),  # 2 x 0.1 and 0.5 x 1.6 an hour
        ({"cpu_hours": 10.0, "gpu_hours": 0.25, "cost": 5.0}, 1800),
    ],
)
def test_hours_and_money_are_seconds_of_trials(tumour: Tumour, budget: dict[str, float], seconds: float) -> None:
    search = tumour(budget={"trials": 9, **budget}, runner=RAY).search
    found = spending.budget(search)
    assert (found.trials, found.seconds) == (9, None)
    assert found.trial_seconds == pytest.approx(seconds)


def test_without_hours_and_money_trials_may_take_what_they_want(tumour: Tumour) -> None:
    assert spending.budget(tumour(budget={"seconds": 60.0}).search) == Budget(seconds=60)


def test_what_was_spent_is_told_in_the_units_of_the_budget(tumour: Tumour) -> None:
    spent = spending.spent(tumour(runner=RAY).search, Spent(trials=3, seconds=100, trial_seconds=7200))
    assert spent == {"seconds": 100, "cpu_hours": 4, "gpu_hours": 1, "cost": 2, "currency": "USD"}
    assert spending.words(spent) == "4.00 CPU h, 1.00 GPU h, 2.00 USD"


def test_without_price_and_gpu_there_are_hours_only(tumour: Tumour) -> None:
    spent = spending.spent(tumour().search, Spent(trials=3, seconds=100, trial_seconds=1800))
    assert spent == {"seconds": 100, "cpu_hours": 0.5}
    assert spending.words(spent) == "0.50 CPU h"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"budget": {"cost": 5.0}}, "search.budget.cost: money needs a price"),
        ({"budget": {"cost": 5.0}, "runner": {**RAY, "price": {}}}, "set search.runner.price.cpu_hour"),
        ({"budget": {"gpu_hours": 5.0}}, "search.budget.gpu_hours: trials occupy no GPU; set search.runner.gpus"),
        ({"budget": {}}, "set trials, seconds, cpu_hours, gpu_hours or cost"),
        ({"budget": {"cost": -1.0}}, "search.budget.cost"),
        ({"runner": {"kind": "ray", "accelerator_type": "A100"}}, "a trial asks for none; set gpus, or remove it"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(
    tumour: Tumour, search: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        tumour(**search)
    assert message in str(caught.value)
