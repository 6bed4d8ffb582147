"""The suite that every provider passes: each sentence of `infrakit_py.spi.provider`, put to the test.

    class TestMine(ProviderConformance):
        @pytest.fixture
        def target(self, tmp_path):
            with ConformanceTarget(provider=..., open_another=..., ...) as target:
                yield target

It needs pytest to be run, but not to be imported; a test method is a function of a target. A failure's message says
which sentence of the contract is broken.
"""

from infrakit_py.testing.creation import Creation
from infrakit_py.testing.observation import Observation
from infrakit_py.testing.removal import Keeping, Removal
from infrakit_py.testing.target import ConformanceTarget

__all__ = ["ConformanceTarget", "ProviderConformance"]


class ProviderConformance(Creation, Observation, Removal, Keeping):
    """Subclass it under a name that pytest collects, and give it a fixture `target`."""
