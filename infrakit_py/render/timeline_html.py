"""The course of a rehearsal as one page that needs nothing else: the picture, and all events in a table."""

from collections.abc import Iterator, Sequence
from typing import Final

import click

from infrakit_py.render.timeline import Timeline, assumptions, beginning, ending, machines_line
from infrakit_py.render.timeline_entries import full_entries
from infrakit_py.render.timeline_svg import STYLE, picture, safe

_STYLE: Final = """
:root { color-scheme: light dark }
body { margin: 0 auto; max-width: 1000px; padding: 1rem; font: 14px/1.5 system-ui, sans-serif;
  color: #1f2328; background: #ffffff }
h1 { font-size: 1.3rem } h2 { font-size: 1.1rem; margin-top: 2rem }
svg { max-width: 100%; height: auto } figure { margin: 0; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #d1d9e0 }
td:first-child { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td:nth-child(2), td:nth-child(3) { white-space: nowrap }
@media (prefers-color-scheme: dark) {
body { color: #e6edf3; background: #0d1117 } th, td { border-color: #2a313c }
}
"""


def page(timelines: Sequence[Timeline]) -> str:
    """Return an HTML document with all clusters."""
    title = "Rehearsal of " + ", ".join(timeline.spec.name for timeline in timelines)
    # The picture brings its own style, which inside a page would be the page's twice.
    drawn = picture(timelines).replace(f"<style>{STYLE}</style>\n", "", 1)
    body = "\n".join(line for timeline in timelines for line in _cluster(timeline))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<title>{safe(title)}</title>\n'
        f"<style>{_STYLE}{STYLE}</style>\n</head>\n<body>\n<h1>{safe(title)}</h1>\n<figure>\n{drawn}</figure>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _cluster(timeline: Timeline) -> Iterator[str]:
    spec = timeline.spec
    yield f"<h2>Cluster {safe(spec.name)}</h2>"
    yield f"<p>{safe(spec.source)}, {safe(beginning(timeline))}, seed {timeline.seed}.</p>"
    yield "<ul>"
    for word, text in assumptions(timeline):
        yield f"<li>{safe(word)}: {safe(text)}</li>"
    yield "</ul>"
    yield f"<p><strong>{safe(click.unstyle(ending(timeline)))}</strong></p>"
    yield "<ul>"
    for course in timeline.rehearsal.groups.values():
        status = course.status
        why = f": {timeline.names.in_text(status.reason)}" if status.reason else ""
        numbers = click.unstyle(machines_line(course, fine=timeline.is_short))
        yield f"<li>{safe(course.group)}: {safe(status.phase.value + why)}; {safe(numbers)}</li>"
    yield "</ul>"
    yield '<table>\n<thead><tr><th scope="col">At</th><th scope="col">Group</th><th scope="col">Event</th>'
    yield '<th scope="col">What</th></tr></thead>\n<tbody>'
    for entry in full_entries(timeline.rehearsal, timeline.names):
        cells = (entry.label, entry.group, entry.kind, entry.text)
        yield "<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in cells) + "</tr>"
    yield "</tbody>\n</table>"
