"""Values of columns as a reader sees them."""

import pytest

from potstill.pipelines.report.standing import as_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        ("as it is", "as it is"),
        (b"\x01\xff", "01ff"),
        ([1, None], "[1, null]"),
        ({"hash": b"\x00\x10"}, '{"hash": "0010"}'),
    ],
)
def test_a_value_is_short_and_bytes_are_hex_digits(value, text):
    assert as_text(value) == text
