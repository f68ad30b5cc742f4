"""Packages that only some stages need: an extra of potstill each."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version(package: str, extra: str) -> str:
    """The installed version of ``package``. Raises ``ImportError`` that says how to install it."""
    try:
        return version(package)
    except PackageNotFoundError:
        raise ImportError(f"the package {package} is not installed; pip install 'potstill[{extra}]'") from None
