import logging

import pytest

from infrakit_py.cli.options import configure_logging


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """Thousands of runs would spend half their time on log lines that nobody reads."""
    configure_logging(logging.CRITICAL)
