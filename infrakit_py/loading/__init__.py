"""From YAML text to validated specs, or to every mistake with its file, line and column.

Plugins and image files come in by protocols: this room imports neither.
"""

from infrakit_py.loading.catalog import ImageReader, PluginCatalog
from infrakit_py.loading.image_entries import is_as_read
from infrakit_py.loading.load import load
from infrakit_py.loading.schema import schema

__all__ = ["ImageReader", "PluginCatalog", "is_as_read", "load", "schema"]
