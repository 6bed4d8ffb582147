"""What a user writes for the vanilla flavor. Files are read here and only here: what leaves holds their text."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from infrakit_groups.flavors.linuxkit_files import names_of

SIZE_LIMIT: Final = 1024 * 1024
"""Bytes that a file, and all files of a machine together, may have."""
SOURCES_OF_A_FILE: Final = "content, text, template_file and file"

_URL_PATH: Final = re.compile(r"^/[!-~]*\Z")
_PERM: Final = re.compile(r"^0?[0-7]{3}$")
_SOURCES: Final = ("template", "text", "template_file", "file", "files")
_FILE_SOURCES: Final = ("content", "text", "template_file", "file")
_STRICT: Final = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Source(BaseModel):
    """Where a text comes from. Of a file, what it holds is kept in place of its name."""

    model_config = _STRICT

    text: str | None = Field(default=None, repr=False, description="a text that is used as it is")
    template_file: str | None = Field(default=None, repr=False, description="a file that holds a template")
    file: str | None = Field(default=None, repr=False, description="a file that is used as it is")

    @field_validator("template_file", "file")
    @classmethod
    def _content(cls, name: str | None, info: ValidationInfo) -> str | None:
        directory = (info.context or {}).get("directory", Path())
        return None if name is None else _read(directory / name)

    def given(self, names: tuple[str, ...]) -> list[str]:
        """Return those of these fields that were written, though it be as nothing."""
        return [name for name in names if name in self.model_fields_set]


def _perm(written: Any) -> str:
    if not isinstance(written, str) or not _PERM.fullmatch(written):
        raise ValueError('must be three octal digits as text, such as "0600" (in quotes)')
    return written


FileMode = Annotated[str, BeforeValidator(_perm), WithJsonSchema({"type": "string", "pattern": _PERM.pattern})]


class FileEntry(Source):
    """A file: a template or a literal text, written here or in a file beside the YAML file. Or a directory's perm."""

    content: str | None = Field(default=None, repr=False, description="a minijinja template")
    perm: FileMode = Field(default="", description='octal digits; by default "0644", for a directory "0755"')

    @model_validator(mode="after")
    def _one_source(self) -> "FileEntry":
        given = self.given(_FILE_SOURCES)
        if len(given) > 1 or None in (getattr(self, name) for name in given):
            raise ValueError(f"must hold exactly one of {SOURCES_OF_A_FILE}")
        return self


def _path(written: str) -> str:
    names_of(written)
    return written


def _content_if_text(written: Any) -> Any:
    return {"content": written} if isinstance(written, str) else written


def _entry_without_file_names(read: FileEntry) -> FileEntry:
    kept = {name: getattr(read, name) for name in read.given(("content", "text", "perm"))}
    if read.template_file is not None:
        kept["content"] = read.template_file
    if read.file is not None:
        kept["text"] = read.file
    return FileEntry(**kept)


class UserData(Source):
    """One of: a template or a literal text, written here or in a file beside the YAML file; or LinuxKit's files."""

    template: str | None = Field(default=None, repr=False, description="a minijinja template")
    files: (
        dict[
            Annotated[str, AfterValidator(_path)],
            Annotated[
                FileEntry,
                BeforeValidator(_content_if_text, json_schema_input_type=str | FileEntry),
                AfterValidator(_entry_without_file_names),
            ],
        ]
        | None
    ) = Field(
        default=None,
        repr=False,
        description="what LinuxKit lays out below /run/config, by path; a path that ends in / is a directory",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "UserData":
        given = self.given(_SOURCES)
        if len(given) != 1 or getattr(self, given[0]) is None:
            raise ValueError("must hold exactly one of template, text, template_file, file and files")
        return self


def _template_if_text(written: Any) -> Any:
    return {"template": written} if isinstance(written, str) else written


def _without_file_names(read: UserData) -> UserData:
    if read.template_file is not None:
        return UserData(template=read.template_file)
    return UserData(text=read.file) if read.file is not None else read


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as exc:  # ValueError: the name holds a NUL
        raise ValueError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"{path} is larger than {SIZE_LIMIT // 1024} KiB")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise ValueError(f"{path} is not UTF-8 text (byte {exc.start + 1})") from exc


class Drain(BaseModel):
    """A POST to the machine that takes it out of service: 2xx when done, 202 or 503 while it goes on."""

    model_config = _STRICT

    port: int = Field(ge=1, le=65535)
    path: str = Field(
        default="/drain", description="path and query of the URL", json_schema_extra={"pattern": _URL_PATH.pattern}
    )

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        if not _URL_PATH.match(path):
            raise ValueError("must begin with '/' and hold no spaces")
        return path


class Options(BaseModel):
    """The vanilla flavor."""

    model_config = _STRICT

    user_data: (
        Annotated[
            UserData,
            BeforeValidator(_template_if_text, json_schema_input_type=str | UserData),
            AfterValidator(_without_file_names),
        ]
        | None
    ) = Field(default=None, description="what the machine reads at its first boot; a plain text is a template")
    drain: Drain | None = Field(default=None, description="how a machine leaves service")
