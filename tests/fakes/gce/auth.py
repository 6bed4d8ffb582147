"""Who calls: keys, tokens that are signed with them, tokens that were given out for such."""

import base64
import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from infrakit_py.spi.provider import Now
from tests.fakes.gce.errors import GceError
from tests.fakes.gce.settings import PROJECT, SERVICE_ACCOUNT

_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
UNIVERSE: Final = "gce.test"
"""Credentials of Google's own universe make its library ask Google about them, which no test may."""
_KEY_ID: Final = "0f00d0000000000000000000000000000000001"


@cache
def _key() -> rsa.RSAPrivateKey:
    """Return the service account's key. To make one takes time, so a process makes one.

    It is half as long as Google's: each client checks it as it reads it, and that takes seven times as long else.
    """
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def write_key_file(path: Path, url: str) -> None:
    """Write what GOOGLE_APPLICATION_CREDENTIALS may name."""
    pem = _key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    document = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": _KEY_ID,
        "private_key": pem.decode(),
        "client_email": SERVICE_ACCOUNT,
        "client_id": "100000000000000000001",
        "token_uri": f"{url}/token",
        "universe_domain": UNIVERSE,
    }
    path.write_text(json.dumps(document, indent=2))


class Doorkeeper:
    """Knows which tokens are good. Signed ones run by the real clock, as their signers do."""

    def __init__(self, clock: Now, token_seconds: float) -> None:
        self._clock = clock
        self._token_seconds = token_seconds
        self._given: dict[str, float] = {}
        self._signed: dict[str, float] = {}
        self._revoked: set[str] = set()

    def revoke(self) -> None:
        """Refuse each token that was used or given out so far, once."""
        self._revoked = {*self._given, *self._signed}
        self._given.clear()

    def admit(self, headers: Mapping[str, str]) -> str:
        """Return who calls. GceError for nobody, or with bad credentials."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _unknown(
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie "
                "or other valid authentication credential. See "
                "https://developers.google.com/identity/sign-in/web/devconsole-project.",
                "required",
            )
        if token in self._revoked:
            self._revoked.discard(token)
            self._signed.pop(token, None)
            raise _invalid()
        if token.count(".") == 2:
            if token not in self._signed:
                self._signed[token] = float(_claims(token)["exp"])
            if self._signed[token] < time.time():
                raise _invalid()
        elif self._given.get(token, 0.0) <= self._clock.now():
            raise _invalid()
        return SERVICE_ACCOUNT

    def give(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Answer an assertion with an access token."""
        form = dict(parse_qsl(body.decode()))
        try:
            if form.get("grant_type") != _GRANT:
                raise _invalid()
            if float(_claims(form.get("assertion", ""))["exp"]) < time.time():
                raise _invalid()
        except GceError:
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        token = self.give_unasked()
        return 200, {"access_token": token, "expires_in": int(self._token_seconds), "token_type": "Bearer"}

    def give_unasked(self) -> str:
        """Return a new access token."""
        token = f"ya29.fake-{len(self._given) + 1:06}-{int(self._clock.now() * 1000)}"
        self._given[token] = self._clock.now() + self._token_seconds
        return token


def _claims(token: str) -> dict[str, Any]:
    try:
        signed, _, signature = token.rpartition(".")
        _key().public_key().verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims: dict[str, Any] = json.loads(_decode(signed.partition(".")[2]))
    except (InvalidSignature, ValueError) as exc:
        raise _invalid() from exc
    if claims.get("iss") != SERVICE_ACCOUNT or "exp" not in claims:
        raise _invalid()
    return claims


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _invalid() -> GceError:
    return _unknown(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )


def _unknown(message: str, reason: str = "authError") -> GceError:
    return GceError(401, reason, message, by_front=True)
