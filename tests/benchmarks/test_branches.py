import numpy as np

from benchmarks.branches import measure, write


def test_both_arms_learn_the_same_and_branches_take_fewer_tokens(tmp_path):
    paths = write(tmp_path, pictures=16, turns=4)
    packed = measure(paths["branches"], "branches", 8, tmp_path / "a")
    single = measure(paths["messages"], "messages", 32, tmp_path / "b")
    assert packed["tokens"] < single["tokens"]
    assert all(np.isfinite(list(found.values())).all() for found in (packed, single))
