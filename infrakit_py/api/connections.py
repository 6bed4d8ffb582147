"""HTTP connections that cannot be hoarded: who asks nothing in time is let go, and so is who is one too many.

uvicorn has no limit for either, and each connection is one of the controller's own descriptors.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 500
_ASK_SECONDS: Final = 10.0
"""For the first request's headers; uvicorn itself limits the pause between two requests."""


class Connection(H11Protocol):
    """One connection of a client."""

    _asks_by: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._asks_by = self.loop.call_later(_ASK_SECONDS, self._let_go, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asks_by is not None:
            self._asks_by.cancel()
        super().connection_lost(exc)

    def _let_go(self, transport: asyncio.Transport) -> None:
        if self.cycle is None and not transport.is_closing():
            transport.abort()
