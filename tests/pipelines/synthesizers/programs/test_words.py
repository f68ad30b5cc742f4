"""Number, article, rivals."""

import pytest

from potstill.pipelines.synthesizers.programs.graph import Thing
from potstill.pipelines.synthesizers.programs.words import any_of, is_not, is_plural, listed, opposite, plural, rivals


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("dog", "dogs"), ("bus", "buses"), ("street bus", "street buses"), ("box", "boxes"), ("dress", "dresses"),
        ("bench", "benches"), ("berry", "berries"), ("boy", "boys"), ("woman", "women"), ("sheep", "sheep"),
        ("tennis ball", "tennis balls"),
    ],
)  # fmt: skip
def test_plurals(one, several):
    assert plural(one) == several
    assert is_plural(several)
    assert one == several or not is_plural(one)


def test_a_question_about_a_name_fits_its_number():
    assert any_of("dog") == "Is there a dog"
    assert any_of("old dog") == "Is there an old dog"
    assert any_of("unicorn") == "Is there a unicorn"
    assert any_of("palm trees") == "Are there any palm trees"


def test_lists():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a or b"
    assert listed(["a", "b", "c"]) == "a, b or c"


def test_what_rules_what_out():
    assert rivals("small") == ("large",)
    assert rivals("furry") == ()
    assert is_not(Thing("dog", frozenset({"red"})), "blue")
    assert not is_not(Thing("dog", frozenset({"red", "blue"})), "blue")
    assert not is_not(Thing("dog"), "blue")
    assert not is_not(Thing("dog", frozenset({"furry"})), "smooth")
    assert (opposite("under"), opposite("on"), opposite("near")) == ("on", "under", None)
