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
    field_validator,
    model_validator,
)

_FILE_LIMIT: Final = 1024 * 1024
_URL_PATH: Final = re.compile(r"^/[!-~]*\Z")
_STRICT: Final = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class UserData(BaseModel):
    """One of: a template or a literal text, written here or in a file beside the YAML file."""

    model_config = _STRICT

    template: str | None = Field(default=None, repr=False, description="a minijinja template")
    text: str | None = Field(default=None, repr=False, description="a text that is used as it is")
    template_file: str | None = Field(default=None, repr=False, description="a file that holds a template")
    file: str | None = Field(default=None, repr=False, description="a file that is used as it is")

    @field_validator("template_file", "file")
    @classmethod
    def _content(cls, name: str | None, info: ValidationInfo) -> str | None:
        directory = (info.context or {}).get("directory", Path())
        return None if name is None else _read(directory / name)

    @model_validator(mode="after")
    def _one_source(self) -> "UserData":
        if len(self.model_fields_set) != 1 or None in (getattr(self, name) for name in self.model_fields_set):
            raise ValueError("must hold exactly one of template, text, template_file and file")
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
            content = file.read(_FILE_LIMIT + 1)
    except (OSError, ValueError) as exc:  # ValueError: the name holds a NUL
        raise ValueError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(content) > _FILE_LIMIT:
        raise ValueError(f"{path} is larger than {_FILE_LIMIT // 1024} KiB")
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
