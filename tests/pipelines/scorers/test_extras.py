from importlib.metadata import version

import pytest

from potstill.pipelines.scorers.extras import package_version


def test_an_installed_package_has_its_version_and_a_missing_one_names_its_extra():
    assert package_version("numpy", "any") == version("numpy")
    with pytest.raises(ImportError, match=r"pip install 'potstill\[ocr\]'"):
        package_version("no-such-package", "ocr")
