"""Whether a key has signed an image: by a detached signature of its manifest, as `cosign sign-blob` makes it.

The manifest's sha256 is the image's identity, so the signature is one of the identity: ECDSA or RSA (PKCS #1
v1.5) over that digest, in base64 or as it is. Source: cosign's documentation, "Signing blobs" (ECDSA P-256 keys).
"""

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infrakit_py.model.spec import Signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_LARGEST: Final = 64 * 1024
VERIFY: Final = "verify"
SIGNATURE: Final = "signature"


class SignatureFault(Exception):
    """Why an image is not known to be signed. `about`: the key of the image's mapping that it is about."""

    def __init__(self, about: str, message: str) -> None:
        super().__init__(message)
        self.about = about


def verify(identity: str, signed: Signed) -> None:
    """Raise SignatureFault unless the signature is one of this identity (hex) by this key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    key = _public_key(Path(signed.key))
    signature = _signature(Path(signed.signature))
    prehashed = utils.Prehashed(SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, bytes.fromhex(identity), ec.ECDSA(prehashed))
        else:
            key.verify(signature, bytes.fromhex(identity), padding.PKCS1v15(), prehashed)
    except InvalidSignature:
        raise SignatureFault(
            VERIFY, f"{signed.signature} is no signature of this image ({identity[:12]}) by the key {signed.key}"
        ) from None


def _public_key(path: Path) -> "EllipticCurvePublicKey | RSAPublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_content(path, VERIFY))
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SignatureFault(VERIFY, f"{path} holds no public key in PEM form") from exc
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey):
        raise SignatureFault(VERIFY, f"{path} holds a key of a kind that is not supported: use ECDSA or RSA")
    return key


def _signature(path: Path) -> bytes:
    content = _content(path, SIGNATURE)
    try:
        return base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError):
        return content


def _content(path: Path, about: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        hint = ""
        if about == SIGNATURE:
            hint = " (`infra image manifest IMAGE | cosign sign-blob --key cosign.key -` makes one)"
        raise SignatureFault(about, f"{path} does not exist{hint}") from None
    except (OSError, ValueError) as exc:
        raise SignatureFault(about, f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(content) > _LARGEST:
        raise SignatureFault(about, f"{path} is too large to be a key or a signature")
    return content
