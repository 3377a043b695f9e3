from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from components.data_prep.splits import split_rows
from components.prepared import SPLITS
from components.spec import Holdout, Split

counts = st.lists(st.integers(40, 90), min_size=2, max_size=4)
shares = st.floats(0.05, 0.3)


@given(counts, shares, shares, shares, st.integers(0, 9))
def test_splits_are_disjoint_complete_and_within_one_row_of_each_share_a_class(
    counts: list[int], validation: float, audit: float, test: float, seed: int
) -> None:
    target = np.repeat(np.arange(len(counts)), counts)
    classes = [str(i) for i in range(len(counts))]
    split = Split(validation=validation, audit=audit, test=test)
    rows = split_rows(pd.DataFrame(index=range(len(target))), target, classes, split, seed)
    assert np.array_equal(np.sort(np.concatenate([rows[name] for name in SPLITS])), np.arange(len(target)))
    for name, share in (("validation", validation), ("audit", audit), ("test", test)):
        assert (abs(np.bincount(target[rows[name]]) - share * np.array(counts)) <= 1).all()


def test_shares_are_of_the_rows_that_the_source_does_not_hold_out() -> None:
    fold = pd.DataFrame({"fold": [1.0] * 600 + [2.0] * 400})
    target = np.arange(1000) % 2
    split = Split(validation=0.1, audit=0.2, test=Holdout(column="fold", value="2"))
    rows = split_rows(fold, target, ["0", "1"], split, 0)
    assert {name: len(found) for name, found in rows.items()} == {
        "validation": 60,
        "audit": 120,
        "train": 420,
        "test": 400,
    }
    assert rows["test"].min() == 600
