"""One action of a plan, as a line and as JSON."""

from typing import assert_never

import click

from infrakit_py.model.plan import Action, Cause, Create, Destroy, Drain, Publish, Retag
from infrakit_py.model.quantities import format_size
from infrakit_py.model.spec import Json
from infrakit_py.render.words import ImageNames


def action_line(action: Action, names: ImageNames) -> str:
    """Write an action as a person reads it: `+ create   web-0  0 of 3 wanted`."""
    sign, word, colour = _signs(action)
    if isinstance(action, Publish):
        what = action.image.name + (f" ({format_size(action.image.size)})" if action.image.size else "")
    else:
        what = action.name
    return click.style(f"{sign} {word:<8} {what}", fg=colour) + f"  {names.in_text(action.reason)}"


def _signs(action: Action) -> tuple[str, str, str]:
    match action:
        case Create(completes=True):
            return "~", "finish", "cyan"
        case Create():
            return "+", "create", "green"
        case Destroy(cause=Cause.REPLACE | Cause.HEAL):
            return "-", "replace", "yellow"
        case Destroy():
            return "-", "destroy", "red"
        case Drain():
            return "·", "drain", "yellow"
        case Retag():
            return "~", "tag", "cyan"
        case Publish():
            return "^", "publish", "cyan"
        case _:
            assert_never(action)


def action_json(action: Action, names: ImageNames) -> dict[str, Json]:
    common: dict[str, Json] = {"provider": action.provider, "reason": names.in_text(action.reason)}
    match action:
        case Create():
            new: dict[str, Json] = {"machine": action.name, "slot": action.slot}
            if action.completes:
                return {"action": "finish", **new, **common}
            return {"action": "create", **new, "previous": action.previous, "failures": action.failures, **common}
        case Destroy():
            gone: dict[str, Json] = {"machine": action.name, "instance": action.instance_id}
            return {"action": "destroy", **gone, "cause": action.cause.value, **common}
        case Drain():
            gone = {"machine": action.name, "instance": action.instance_id}
            return {"action": "drain", **gone, "cause": action.cause.value, **common}
        case Retag():
            changed: dict[str, Json] = {"set": dict(action.set_tags), "remove": list(action.remove_tags)}
            return {"action": "tag", "machine": action.name, "instance": action.instance_id, **changed, **common}
        case Publish():
            image: dict[str, Json] = {"image": action.image.name, "identity": action.image.identity}
            return {"action": "publish", **image, "bytes": action.image.size, **common}
        case _:
            assert_never(action)
