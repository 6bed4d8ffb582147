"""Whether a call really comes from the Git host that shares a secret with us. Pure."""

import hmac
from collections.abc import Mapping
from typing import Final

_SIGNATURE: Final = "x-hub-signature-256"
_TOKEN: Final = "x-gitlab-token"


def is_authentic(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether the body is signed with the secret (GitHub, Gitea, Forgejo), or the secret sent along (GitLab).

    `headers`: by names in lower case.
    """
    key = secret.encode()
    signed = headers.get(_SIGNATURE, "").encode()
    sent = headers.get(_TOKEN, "").encode()
    signature = b"sha256=" + hmac.new(key, body, "sha256").hexdigest().encode()
    is_signed, is_sent = hmac.compare_digest(signature, signed), hmac.compare_digest(key, sent)
    return bool(key) and (is_signed or is_sent)
