"""Ranks that wait for rank 0 at the end give signs of life."""

from pathlib import Path

from training.exporting_ranks import export_until_the_others_have_beaten
from training.forked_ranks import run_ranks


def test_rank_gives_signs_of_life_while_it_waits_for_one_that_exports(tmp_path: Path) -> None:
    assert run_ranks(2, export_until_the_others_have_beaten, tmp_path)[1] >= 1
