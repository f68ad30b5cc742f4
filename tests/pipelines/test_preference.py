"""Which row is to stay: a number made of columns."""

import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from potstill.pipelines import preference
from potstill.pipelines.rowset import RowSet


class Settings(BaseModel):
    prefer: preference.Preference | None = None


ROWS = RowSet.of(list("dcba"), width=[2, 3, 3, None], height=[5, 3, 3, 9], name=list("abcd"))


def test_the_largest_number_comes_first_nulls_last_and_equal_ones_by_id():
    assert [ROWS.texts[place] for place in preference.order(ROWS, "width * height")] == ["d", "b", "c", "a"]
    assert preference.order(ROWS, None).tolist() == [0, 1, 2, 3]


def test_a_preference_reads_the_columns_that_it_names():
    assert preference.reads("width * height") == ("height", "width")
    assert preference.reads(None) == ()


def test_a_column_without_any_value_prefers_nobody():
    assert preference.order(RowSet.of(["b", "a"], score=pa.nulls(2)), "score").tolist() == [0, 1]


@pytest.mark.parametrize(("text", "says"), [("3 + 4", "names no column"), ("open('x')", "not allowed")])
def test_what_is_no_number_of_columns_is_refused_in_the_plan(text, says):
    with pytest.raises(ValidationError, match=says):
        Settings(prefer=text)


def test_a_text_is_no_number():
    with pytest.raises(ValueError, match="comes to string, not to a number"):
        preference.order(ROWS, "name")
