import pytest

from potstill.config import RequestError
from potstill.pipelines.sources.paths import braces, inside, key
from tests.pipelines.sources.test_folder import write


def test_keys_of_different_names_differ():
    assert key("a\udcff") == "a\\udcff"
    assert key("a\\udcff") == "a\\\\udcff"


def test_braces_are_written_out():
    assert braces("x-{008..011}.tar") == ["x-008.tar", "x-009.tar", "x-010.tar", "x-011.tar"]
    assert braces("{a,b}{1..2}") == ["a1", "a2", "b1", "b2"]
    assert braces("plain") == ["plain"]
    assert braces("{odd}") == ["{odd}"]
    with pytest.raises(RequestError, match="over a million"):
        braces("{0..99999999}")


@pytest.mark.parametrize(
    "path", ["../x.jpg", "/etc/passwd", "a/../../x", "http://h/x.jpg", "data:image/png;base64,x", "a\x00"]
)
def test_a_path_that_leads_out_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match="; "):
        inside(str(tmp_path), path)


def test_a_link_that_leads_out_is_refused(tmp_path):
    root = tmp_path / "root"
    write(tmp_path, "root/a.jpg", "secret.jpg")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert inside(str(root), "./a.jpg") == str(root / "a.jpg")
    with pytest.raises(ValueError, match="link out of"):
        inside(str(root), "link.jpg")
