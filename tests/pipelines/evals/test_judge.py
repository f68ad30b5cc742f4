"""Mean judged scores from columns."""

import pytest

from potstill.config import RequestError
from tests.pipelines.evals.rows import evaluation, reader, write


def measured(folder, **settings):
    asked = evaluation("judge", folder, **settings)
    return asked.measure(reader(asked))


def test_each_column_has_its_mean_and_what_is_missing_is_counted(tmp_path):
    folder = write(tmp_path, clarity=[5, 3, None, 4], grades=[[1.0, 2.0], [], [3.0], None])
    found = measured(folder, scores=["clarity", "grades"])
    assert (found.metrics["clarity"].value, found.metrics["clarity"].n) == (4, 3)
    assert (found.metrics["grades"].value, found.metrics["grades"].n) == (2, 3)
    assert found.left_out == {"no clarity": 1, "no grades": 1}
    assert found.errors == [None] * 4


def test_rows_of_one_picture_are_drawn_together(tmp_path):
    folder = write(tmp_path, image_id=["p"] * 20 + ["q"] * 20, clarity=[1] * 20 + [5] * 20)
    found = measured(folder, scores=["clarity"]).metrics["clarity"]
    assert (found.low, found.value, found.high) == (1, 3, 5)


def test_columns_without_scores_are_refused(tmp_path):
    folder = write(tmp_path, words=["a", "b"], nothing=[None, None])
    with pytest.raises(RequestError, match="'words' holds no scores"):
        measured(folder, scores=["words"])
    with pytest.raises(RequestError, match="no row has a score in 'nothing'"):
        measured(folder, scores=["nothing"])
    with pytest.raises(RequestError, match="scores: "):
        evaluation("judge", folder, scores=[])


def test_the_interval_is_a_function_of_seed_and_settings(tmp_path):
    folder = write(tmp_path, clarity=[1, 2, 3, 4, 5] * 4)
    one, two = (measured(folder, scores=["clarity"], seed=seed).metrics["clarity"] for seed in (1, 1))
    assert one == two
    narrow = measured(folder, scores=["clarity"], confidence=0.5).metrics["clarity"]
    assert one.low < narrow.low < narrow.value < narrow.high < one.high
