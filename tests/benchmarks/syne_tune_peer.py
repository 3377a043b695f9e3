"""One of Syne Tune's searches, asked and told over pipes; it runs in an environment of its own, without evernas.

The first line in is `{"method", "seed", "goal", "options": [n, ...], "ordered": [bool, ...]}`. Then each line is either
`{"ask": n}`, answered by a line with n lists of option indices, or `{"tell": [value, ...]}` about the last of them.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from syne_tune.config_space import choice, randint
from syne_tune.optimizer import baselines
from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler

METHODS = {"rea": baselines.REA, "bore": baselines.BORE, "cqr": baselines.CQR}


def main() -> None:
    logging.disable(logging.WARNING)
    given = json.loads(sys.stdin.readline())
    space: dict[str, Any] = {
        str(i): randint(0, n - 1) if ordered else choice(list(range(n)))
        for i, (n, ordered) in enumerate(zip(given["options"], given["ordered"], strict=True))
    }
    method = METHODS[given["method"]]
    searcher = method(space, "value", do_minimize=given["goal"] == "min", random_seed=given["seed"])
    scheduler = AskTellScheduler(searcher)
    trials: list[Any] = []
    for line in sys.stdin:
        told = json.loads(line)
        if "ask" in told:
            trials = [scheduler.ask() for _ in range(told["ask"])]
            answer = [[int(trial.config[name]) for name in space] for trial in trials]
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        else:
            for trial, value in zip(trials, told["tell"], strict=True):
                scheduler.tell(trial, {"value": value})


if __name__ == "__main__":
    main()
