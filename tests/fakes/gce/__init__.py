"""A stand-in for Google Compute Engine: one simulated cloud behind the API that Google's clients talk to.

Requests and replies are checked by Google's own discovery document; what it does not know is an error on either side.
What it behaves like is what Google documents. It has never been compared with Google itself.
"""

from tests.fakes.gce.server import FakeGCE
from tests.fakes.gce.settings import FakeSettings

__all__ = ["FakeGCE", "FakeSettings"]
