"""Images of the simulated cloud: which can be booted, and which are used."""

from collections.abc import Iterable
from sqlite3 import Connection

from infrakit_providers.simulated.database import as_list
from infrakit_providers.simulated.settings import SimSettings
from infrakit_py.errors import ProviderError
from infrakit_py.model.spec import Image, ImageForm


def bootable(rows: Connection, settings: SimSettings, images: Iterable[Image]) -> frozenset[str]:
    """Return the identities of the images that are published. References are, unless the settings miss them."""
    asked = {image.identity: image for image in images}
    found = rows.execute(
        "SELECT identity FROM images WHERE identity IN (SELECT value FROM json_each(?))", (as_list(asked),)
    )
    published = {identity for (identity,) in found}
    for identity, image in asked.items():
        if image.form is ImageForm.REFERENCE and image.reference not in settings.missing_images:
            published.add(identity)
    return frozenset(published)


def store(rows: Connection, image: Image, now: float) -> None:
    """Make an image bootable. Idempotent."""
    rows.execute("INSERT OR IGNORE INTO images VALUES (?, ?, ?)", (image.identity, image.name, now))


def unused_by_others(rows: Connection, cluster: str, now: float) -> list[tuple[str, str]]:
    """Return identity and name of each published image that no machine outside the cluster uses."""
    query = """
        SELECT identity, name FROM images
        WHERE identity NOT IN (SELECT image FROM tally WHERE alive > 0 AND cluster != :cluster)
        AND identity NOT IN (
            SELECT image FROM machines WHERE gone_at < 9e999 AND gone_at > :now AND cluster != :cluster)
        ORDER BY name, identity"""
    return [(identity, name) for identity, name in rows.execute(query, {"cluster": cluster, "now": now})]


def delete(rows: Connection, identity: str, now: float) -> None:
    """Delete an image that no machine uses. One that is gone already is fine."""
    query = """
        SELECT 1 FROM tally WHERE alive > 0 AND image = :image
        UNION ALL SELECT 1 FROM machines WHERE gone_at < 9e999 AND gone_at > :now AND image = :image LIMIT 1"""
    if rows.execute(query, {"image": identity, "now": now}).fetchone():
        raise ProviderError(f"image {identity[:12]} is in use")
    rows.execute("DELETE FROM images WHERE identity = ?", (identity,))
