"""Whether an image is signed: by openssl's and cosign's kind of signature, over the image's manifest."""

import base64
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from infrakit_py.images import ImageError, read_image
from infrakit_py.images.identity import manifest
from infrakit_py.model.spec import Image, ImageForm, Signed
from tests.images_room.material import kernel_image

KEYS = {
    "ecdsa": ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"],
    "rsa": ["openssl", "genrsa", "2048"],
}


def paths_of(image: Image) -> dict[str, Path]:
    return {part: Path(file.path) for part, file in image.files.items()}


def signed_by_openssl(image: Image, directory: Path, kind: str, *, text: str | None = None) -> Signed:
    """Sign the manifest with a program that knows nothing of infra, as `cosign sign-blob` does."""
    private, public, signature = directory / "private", directory / "key.pub", directory / "image.sig"
    private.write_bytes(subprocess.run(KEYS[kind], check=True, capture_output=True).stdout)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)
    (directory / "manifest").write_text(manifest(image) if text is None else text)
    raw = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", str(private), str(directory / "manifest")],
        check=True,
        capture_output=True,
    ).stdout
    signature.write_bytes(base64.b64encode(raw) + b"\n")
    return Signed(str(public), str(signature))


def read(image: Image, signed: Signed) -> Image:
    return read_image(image.name, ImageForm.KERNEL, paths_of(image), signed=signed)


def test_the_manifests_digest_is_the_identity(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    assert sha256(manifest(image).encode()).hexdigest() == image.identity
    assert [line.split()[0] for line in manifest(image).splitlines()] == ["kernel", "initrd", "cmdline"]


@pytest.mark.parametrize("kind", KEYS)
def test_an_image_that_was_signed_is_taken(tmp_path: Path, kind: str) -> None:
    image = kernel_image(tmp_path)
    assert read(image, signed_by_openssl(image, tmp_path, kind)) == image


def test_a_signature_that_is_not_in_base64_is_taken_too(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    signed = signed_by_openssl(image, tmp_path, "ecdsa")
    Path(signed.signature).write_bytes(base64.b64decode(Path(signed.signature).read_bytes()))
    assert read(image, signed) == image


@pytest.mark.parametrize("kind", KEYS)
def test_one_changed_byte_in_any_part_makes_the_signature_wrong(tmp_path: Path, kind: str) -> None:
    image = kernel_image(tmp_path)
    signed = signed_by_openssl(image, tmp_path, kind)
    for part, path in paths_of(image).items():
        before = path.read_bytes()
        path.write_bytes(b"x" + before[1:])
        with pytest.raises(ImageError, match="is no signature of this image") as refused:
            read(image, signed)
        assert refused.value.complaints[0].path == ("verify",), part
        path.write_bytes(before)


def test_another_key_did_not_sign_it(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    signed = signed_by_openssl(image, tmp_path, "ecdsa")
    (tmp_path / "other").mkdir()
    other = signed_by_openssl(image, tmp_path / "other", "ecdsa")
    with pytest.raises(ImageError, match="is no signature of this image"):
        read(image, Signed(other.key, signed.signature))


def test_a_signature_of_another_text_is_none(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    with pytest.raises(ImageError, match="is no signature"):
        read(image, signed_by_openssl(image, tmp_path, "ecdsa", text=image.identity))


def test_what_is_missing_or_no_key_is_said_with_its_place(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    signed = signed_by_openssl(image, tmp_path, "ecdsa")
    cases = [
        (Signed(str(tmp_path / "no.pub"), signed.signature), "verify", "does not exist"),
        (Signed(signed.signature, signed.signature), "verify", "holds no public key in PEM form"),
        (Signed(signed.key, str(tmp_path / "no.sig")), "signature", "does not exist"),
        (Signed(str(tmp_path), signed.signature), "verify", "cannot be read"),
    ]
    for files, about, message in cases:
        with pytest.raises(ImageError, match=message) as refused:
            read(image, files)
        assert refused.value.complaints[0].path == (about,)


def test_a_key_of_a_kind_that_needs_the_whole_text_is_refused(tmp_path: Path) -> None:
    image = kernel_image(tmp_path)
    signed = signed_by_openssl(image, tmp_path, "ecdsa")
    private = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
    public = subprocess.run(["openssl", "pkey", "-pubout"], input=private, check=True, capture_output=True).stdout
    Path(signed.key).write_bytes(public)
    with pytest.raises(ImageError, match="use ECDSA or RSA"):
        read(image, signed)
