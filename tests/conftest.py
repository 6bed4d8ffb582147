"""What holds for every test: properties are tried on the same examples each time, so that a run tells of the code.

`HYPOTHESIS_PROFILE=search` tries others, to look for what nobody thought of.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
