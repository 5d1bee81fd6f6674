"""Shared by all tests: where the public imagery lies, and a hypothesis profile for slow, shared machines."""

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")

ROOT = Path(__file__).resolve().parent.parent
IMAGERY = ROOT.parent / "shared" / "imagery"


@pytest.fixture(scope="session")
def imagery() -> Path:
    """The folder of public test imagery; a test that needs it skips where it is absent."""
    if not IMAGERY.is_dir():
        pytest.skip(f"no public imagery at {IMAGERY}")
    return IMAGERY
