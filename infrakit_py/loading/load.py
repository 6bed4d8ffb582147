"""The way in: all files, all documents, all mistakes at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from infrakit_py.errors import Problem, SpecError
from infrakit_py.loading import sources
from infrakit_py.loading.catalog import ImageReader, PluginCatalog
from infrakit_py.loading.reading import Reading
from infrakit_py.loading.references import mapping
from infrakit_py.loading.specs import cluster_spec
from infrakit_py.loading.yaml_documents import Document, documents
from infrakit_py.loading.yaml_nodes import decode
from infrakit_py.model.spec import ClusterSpec


def load(
    paths: Sequence[Path], catalog: PluginCatalog, environment: Mapping[str, str], read_image: ImageReader
) -> tuple[ClusterSpec, ...]:
    """Return the clusters that files, directories and `-` (standard input) declare, in their order.

    SpecError with all that is wrong with all of them; then nothing is returned, and nothing was touched.
    """
    return _Load(catalog, environment, read_image).all(paths)


class _Load:
    def __init__(self, catalog: PluginCatalog, environment: Mapping[str, str], read_image: ImageReader) -> None:
        self._catalog = catalog
        self._environment = environment
        self._read_image = read_image
        self._problems: list[Problem] = []
        self._declared: dict[str, Problem] = {}

    def all(self, paths: Sequence[Path]) -> tuple[ClusterSpec, ...]:
        files, self._problems = sources.find(paths)
        specs = [spec for file in files for spec in self._file(file)]
        if not self._problems and not specs:
            named = ", ".join(str(path) for path in paths) or "no file is named"
            self._problems.append(Problem(named, 0, 0, "declares no cluster"))
        if self._problems:
            raise SpecError(self._problems)
        return tuple(specs)

    def _file(self, file: Path) -> Iterator[ClusterSpec]:
        try:
            source = sources.read(file)
            text = decode(source.content, source.name)
            for document in documents(text, source.name, self._environment):
                yield from self._document(document, source)
        except SpecError as exc:
            self._problems.extend(exc.problems)

    def _document(self, document: Document, source: sources.Source) -> Iterator[ClusterSpec]:
        reading = Reading(document, source.directory, self._catalog, self._read_image)
        reading.read()
        self._check_name(document)
        self._problems.extend(reading.findings.problems)
        if reading.document and not reading.findings.problems:
            yield cluster_spec(reading, reading.document, source.name)

    def _check_name(self, document: Document) -> None:
        """A name owns its machines, so that two documents of one name would destroy each other's."""
        name = mapping(document.data, "metadata").get("name")
        if not isinstance(name, str):
            return
        mark = document.value_mark(("metadata", "name"))
        here = Problem(document.file, mark.line, mark.column, f"metadata.name: cluster {name!r} is already declared")
        first = self._declared.setdefault(name, here)
        if first is not here:
            where = f"{first.file}:{first.line}:{first.column}"
            self._problems.append(Problem(here.file, here.line, here.column, f"{here.message} at {where}"))
