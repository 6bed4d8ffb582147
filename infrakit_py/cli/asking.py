"""Asking one provider of a cluster something, and trying again where its error says that this may help."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

from infrakit_py.engine.retry import retrying
from infrakit_py.model.spec import ClusterSpec
from infrakit_py.spi.provider import Provider

if TYPE_CHECKING:
    from infrakit_py.app import App

T = TypeVar("T")


def asked(app: "App", spec: ClusterSpec, provider: str, question: Callable[[Provider], T]) -> T:
    """Open a provider, and return its answer. ProviderError where it has none."""
    with app.provider(spec, provider) as opened:
        return retrying(app.clock, Random(), lambda: question(opened))
