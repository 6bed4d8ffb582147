"""Images of the simulated cloud: which can be booted, and which are used."""

from collections.abc import Container, Iterable
from sqlite3 import Connection

from infrakit_providers.simulated.database import as_list
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image, ImageForm


def bootable(rows: Connection, settings: SimSettings, images: Iterable[Image]) -> frozenset[str]:
    """Return the identities of the images that are published. References are, unless the settings miss them."""
    asked = {image.identity: image for image in images}
    there = {
        identity
        for identity, image in asked.items()
        if image.form is ImageForm.REFERENCE and image.reference not in settings.missing_images
    }
    if rest := asked.keys() - there:
        found = rows.execute(
            "SELECT identity FROM images WHERE identity IN (SELECT value FROM json_each(?))", (as_list(rest),)
        )
        there |= {identity for (identity,) in found}
    return frozenset(there)


def store(rows: Connection, image: Image, now: float) -> None:
    """Make an image bootable. Idempotent."""
    rows.execute("INSERT OR IGNORE INTO images VALUES (?, ?, ?)", (image.identity, image.name, now))


def published(rows: Connection) -> list[tuple[str, str, float]]:
    """Return identity and name of each published image, and when it was published, in Unix time."""
    return list(rows.execute("SELECT identity, name, published_at FROM images ORDER BY 2, 1"))


def delete(rows: Connection, identity: str, used: Container[str]) -> None:
    """Delete an image that is not used. One that is gone already is fine."""
    if identity in used:
        raise ProviderError(f"image {identity[:12]} is in use")
    rows.execute("DELETE FROM images WHERE identity = ?", (identity,))
