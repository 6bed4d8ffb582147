"""A fake account, a clock that the test moves, and real clients that try everything once."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fakes.account import Account, Opens


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Open accounts with settings of one's own."""
    with ExitStack() as stack:

        def open_(**settings: Any) -> Account:
            account = Account(**settings)
            stack.enter_context(account.fake)
            stack.callback(account.check)
            return account

        yield open_


@pytest.fixture
def account(opens: Opens) -> Account:
    """An account in which machines take two seconds to boot and one to go."""
    return opens()
