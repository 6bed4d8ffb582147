"""What holds for every test: properties are tried on the same examples each time, so that a run tells of the code.

`HYPOTHESIS_PROFILE=search` tries others, to look for what nobody thought of. Tests that need programs which are not
installed are left out with the reason, but for `INFRAKIT_REQUIRE_REAL=1`.
"""

import os
import shutil

import pytest
from hypothesis import settings

from infrakit_py.images.tools import PACKAGES

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None})
    if not missing or os.environ.get("INFRAKIT_REQUIRE_REAL") == "1":
        return
    left_out = pytest.mark.skip(reason=f"not installed: {', '.join(missing)}")
    for item in items:
        if item.get_closest_marker("disks") is not None:
            item.add_marker(left_out)
