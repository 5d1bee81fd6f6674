"""The version that stands in every report and manifest."""

from importlib.metadata import PackageNotFoundError, version


def _version() -> str:
    try:
        return version("yardwatch")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0+unknown"


VERSION = _version()
