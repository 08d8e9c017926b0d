"""Folds that respect time, and samples that are the same everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.splits import sample_by_hash, time_folds

DAYS = np.arange("2013-01-01", "2013-03-01", dtype="datetime64[D]")


def test_every_fold_learns_from_all_days_before_its_block_and_from_no_other() -> None:
    days = np.random.default_rng(0).permutation(np.repeat(DAYS, 3))
    for fold in time_folds(days, folds=3, fold_days=7):
        assert days[fold.train].max() < np.datetime64(fold.first_day) == days[fold.validation].min()
        assert days[fold.validation].max() == np.datetime64(fold.last_day)
        assert fold.train.sum() == (days < np.datetime64(fold.first_day)).sum()


def test_the_blocks_are_the_last_days_one_after_the_other() -> None:
    folds = time_folds(DAYS, folds=3, fold_days=7)
    np.testing.assert_array_equal(DAYS[-21:], np.concatenate([DAYS[fold.validation] for fold in folds]))
    assert [int(fold.validation.sum()) for fold in folds] == [7, 7, 7]


def test_a_fold_can_be_taken_over_to_a_sample_of_its_rows() -> None:
    fold = time_folds(DAYS, folds=1, fold_days=7)[0]
    even = np.arange(DAYS.size) % 2 == 0
    np.testing.assert_array_equal(DAYS[even][fold.within(even).validation], DAYS[fold.validation & even])


def test_days_that_leave_nothing_to_learn_from_are_refused() -> None:
    with pytest.raises(ValueError, match="span 14 days, 2013-01-01 to 2013-01-14; 2 folds of 7 days"):
        time_folds(DAYS[:14], folds=2, fold_days=7)
    assert len(time_folds(DAYS[:15], folds=2, fold_days=7)) == 2


def test_a_block_without_rows_is_refused() -> None:
    with_a_hole = np.concatenate([DAYS[:40], DAYS[-3:]])
    with pytest.raises(ValueError, match="no rows from 2013-02-15 to 2013-02-21"):
        time_folds(with_a_hole, folds=2, fold_days=7)


@given(
    keys=st.lists(st.integers(0, 40), min_size=1, max_size=200),
    share=st.floats(0.3, 1.0),
    seed=st.integers(0, 2**31),
)
def test_a_sample_keeps_whole_events_and_never_too_many_rows(keys: list[int], share: float, seed: int) -> None:
    names = np.array([f"event {key}" for key in keys], dtype=object)
    largest = int(np.unique(keys, return_counts=True)[1].max())
    limit = max(largest, int(share * len(keys)))
    kept = sample_by_hash(names, limit, seed)
    assert 0 < kept.sum() <= limit
    assert not set(names[kept]) & set(names[~kept])


@given(order=st.permutations(range(60)), smaller=st.integers(5, 30))
def test_the_choice_depends_on_keys_not_on_order_and_smaller_samples_lie_within_larger(
    order: list[int], smaller: int
) -> None:
    keys = np.array([f"event {n}" for n in range(60)], dtype=object)
    shuffled = keys[order]
    assert set(keys[sample_by_hash(keys, 30, 1)]) == set(shuffled[sample_by_hash(shuffled, 30, 1)])
    assert set(keys[sample_by_hash(keys, smaller, 1)]) <= set(keys[sample_by_hash(keys, 30, 1)])


def test_another_process_chooses_the_same_rows_and_another_seed_others() -> None:
    keys = np.array([f"event {n}" for n in range(100)])
    code = (
        "import numpy as np; from lifecycle.splits import sample_by_hash; "
        "print(np.flatnonzero(sample_by_hash(np.array([f'event {n}' for n in range(100)]), 20, 5)).tolist())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert elsewhere == str(np.flatnonzero(sample_by_hash(keys, 20, 5)).tolist())
    assert not np.array_equal(sample_by_hash(keys, 20, 5), sample_by_hash(keys, 20, 6))


def test_numbers_are_sampled_by_seed_too() -> None:
    keys = np.arange(1000)
    assert not np.array_equal(sample_by_hash(keys, 100, 1), sample_by_hash(keys, 100, 2))


def test_an_event_larger_than_the_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rows is 2, fewer than the rows of one key"):
        sample_by_hash(np.array(["a"] * 5), 2, 0)
