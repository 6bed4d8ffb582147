"""Client tokens: the same request again gives what it gave before, another request is refused."""

import hashlib
from collections.abc import Callable

from tests.fakes.ec2.errors import AwsError
from tests.fakes.ec2.reading import Asked
from tests.fakes.ec2.world import World

LONGEST_TOKEN = 64


def digest(asked: Asked) -> str:
    """Return what a token stands for."""
    rest = sorted((key, value) for key, value in asked.items() if key not in ("ClientToken", "DryRun"))
    return hashlib.sha256(repr(rest).encode()).hexdigest()


def check_token(token: str) -> None:
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise AwsError("InvalidParameterValue", f"Invalid client token: '{token}': at most 64 ASCII characters")


def mismatch() -> AwsError:
    return AwsError(
        "IdempotentParameterMismatch",
        "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
    )


def once(world: World, call: str, asked: Asked, make: Callable[[], str]) -> str:
    """Make something, or return the id of what the token made before."""
    token = asked.get("ClientToken", "")
    if not token:
        return make()
    check_token(token)
    known = world.tokens.get((call, token))
    if known is None:
        known = world.tokens[call, token] = (digest(asked), make())
    elif known[0] != digest(asked):
        raise mismatch()
    return known[1]
