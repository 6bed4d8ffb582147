"""A member's user data made from a template, within limits: a template can neither run for ever nor reach anything.

Messages name the place and the mistake, never the text around it: user data may hold secrets.
"""

from typing import Final

import minijinja

from infrakit_py.spi.flavor import MemberIdentity

_FUEL: Final = 1_000_000
"""Steps that one rendering may take; a template of some thousand lines takes some ten thousand."""


class TemplateFault(Exception):
    """Why a template gives no user data. `line` counts from 1 within the template."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Template:
    """A minijinja template over `cluster`, `group` and `instance`. An unknown name is a fault, never empty text."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"Template({len(self._source)} characters)"

    def render(self, member: MemberIdentity) -> str:
        """Make one member's text. The same member gives the same text. Raise TemplateFault."""
        try:
            return _environment().render_str(
                self._source,
                "user_data",
                cluster={"name": member.cluster},
                group={"name": member.group, "size": member.size},
                instance={"name": member.name, "logical_id": member.logical_id, "index": member.index},
            )
        except minijinja.TemplateError as exc:
            raise TemplateFault(_explained(exc), exc.line or 1) from None


def _environment() -> minijinja.Environment:
    environment = minijinja.Environment(
        fuel=_FUEL,
        undefined_behavior="strict",
        auto_escape_callback=lambda _name: None,
        keep_trailing_newline=True,
    )
    environment.remove_global("debug")
    return environment


def _explained(error: minijinja.TemplateError) -> str:
    if error.kind == "OutOfFuel":
        return "the template takes too many steps"
    if error.kind == "UndefinedError":
        return (
            f"{error.detail or 'something is undefined'} (defined are cluster.name, group.name, group.size,"
            " instance.name, instance.logical_id and instance.index)"
        )
    return f"template: {error.detail or error.message}"
