"""infrakit-py: provision clusters of immutable machines and keep them as declared."""

from typing import Final

__version__: Final = "0.1.0"
