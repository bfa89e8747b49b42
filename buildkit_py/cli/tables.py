"""Tables and `--format` as docker's client has them: columns, JSON lines, a few templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from buildkit_py.core.draw import printable
from buildkit_py.core.errors import InputError

_FIELD = re.compile(r"\{\{\s*(json\s+)?\.(\w*)\s*\}\}")
_GAP = "   "


class BadTemplate(InputError):
    """`--format` asks for more than the fields it names."""

    code = "cli/bad-template"


def render(
    rows: Sequence[Mapping[str, str]],
    form: str,
    columns: Sequence[str],
    headings: Mapping[str, str],
) -> str:
    """Return the rows as text.

    form: "" or `table` for the columns, `json` for a line of JSON a row, `table TEMPLATE`, or a
        template. A template knows {{.Field}}, {{json .}} and {{json .Field}}, `\\t` and `\\n`.
    Raises BadTemplate.
    """
    from buildkit_py.oci.image import to_json

    if form == "json":
        return "".join(f"{to_json(dict(row)).decode()}\n" for row in rows)
    if form in ("", "table"):
        names = [headings.get(name, name.upper()) for name in columns]
        return _aligned([names, *([row[name] for name in columns] for row in rows)])
    template = form.replace("\\t", "\t").replace("\\n", "\n")
    is_table = template.startswith("table ")
    template = template.removeprefix("table ")
    lines = [_filled(template, row) for row in rows]
    if not is_table:
        return "".join(f"{line}\n" for line in lines)
    known = dict.fromkeys(rows[0] if rows else columns, "")
    heading = _filled(template, {name: headings.get(name, name.upper()) for name in known})
    return _aligned([line.split("\t") for line in [heading, *lines]])


def _filled(template: str, row: Mapping[str, str]) -> str:
    from buildkit_py.oci.image import to_json

    def value(found: re.Match[str]) -> str:
        as_json, name = found[1], found[2]
        if not name and as_json:
            return to_json(dict(row)).decode()
        if name not in row:
            raise BadTemplate(
                f"`{found[0]}` of `--format` is not known",
                hint=f"the fields are {', '.join(sorted(row))}",
            )
        return to_json(row[name]).decode() if as_json else row[name]

    if "{{" in _FIELD.sub("", template):
        raise BadTemplate(
            f"the template `{template}` is not supported yet",
            hint="fields such as `{{.ID}}`, and `{{json .}}`",
        )
    return _FIELD.sub(value, template)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return columns. What stands in them was written by others: no cell moves the cursor."""
    lines = [[printable(cell).replace("\n", "\\n") for cell in line] for line in lines]
    most = max(len(line) for line in lines)
    widths = [max(len(line[at]) for line in lines if at < len(line)) for at in range(most)]
    out = []
    for line in lines:
        cells = [cell.ljust(widths[at]) for at, cell in enumerate(line)]
        out.append(_GAP.join(cells).rstrip() + "\n")
    return "".join(out)


def moment(text: str | None) -> str:
    """Return a time of RFC 3339 as Go prints it: `2024-05-01 12:00:00 +0000 UTC`."""
    time = _time(text)
    return f"{time:%Y-%m-%d %H:%M:%S} +0000 UTC" if time else "N/A"


def age(text: str | None, now: datetime | None = None) -> str:
    """Return how long ago a time is, in docker's words (go-units HumanDuration)."""
    time = _time(text)
    if time is None:
        return "N/A"
    seconds = int(((now or datetime.now(UTC)) - time).total_seconds())
    return f"{_duration(seconds)} ago"


def _duration(seconds: int) -> str:
    minutes, hours = seconds // 60, int(seconds / 3600 + 0.5)
    steps = (
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    return next((text for fits, text in steps if fits), f"{seconds // 3600 // 24 // 365} years")


def _time(text: str | None) -> datetime | None:
    """Read RFC 3339; digits beyond microseconds are left out. None for what is none."""
    if not text:
        return None
    head, dot, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    try:
        time = datetime.fromisoformat(
            head + (dot + tail[:digits][:6] + tail[digits:] if dot else "")
        )
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
