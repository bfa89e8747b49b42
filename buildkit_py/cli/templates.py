"""Templates of `inspect` that name one value: `{{.State.Pid}}`, `{{json .Config.Labels}}`.

docker takes the whole language of Go's text/template; here paths, and `index` for keys that are
no names.
"""

from __future__ import annotations

import json
import re
from typing import Any

from buildkit_py.cli.tables import BadTemplate

_ACTION = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_WORD = re.compile(r'"[^"]*"|[^\s]+')


def fill(template: str, data: dict[str, Any]) -> str:
    """Return the template with the values of `data`. Raises BadTemplate."""
    text = template.replace("\\t", "\t").replace("\\n", "\n")
    return _ACTION.sub(lambda found: _value(found[1], data), text)


def _value(action: str, data: dict[str, Any]) -> str:
    words = _WORD.findall(action)
    as_json = words[:1] == ["json"]
    words = words[1:] if as_json else words
    keys: list[str] = []
    if words[:1] == ["index"] and len(words) >= 2:
        keys = [word.strip('"') for word in words[2:]]
        words = words[1:2]
    if len(words) != 1 or not words[0].startswith("."):
        raise BadTemplate(
            f"the template `{{{{{action}}}}}` is not supported yet",
            hint='`{{.Field.Field}}`, `{{json .Field}}` and `{{index .Field "key"}}` are',
        )
    value: Any = data
    for name in [*(name for name in words[0].split(".") if name), *keys]:
        if isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and (name in value or name in keys):
            value = value.get(name, "")
        else:
            raise BadTemplate(f"`{{{{{action}}}}}`: there is no `{name}`")
    if as_json:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _shown(value)


def _shown(value: Any) -> str:
    """Return a value as Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_shown(each)}' for key, each in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(_shown(each) for each in value)}]"
    return str(value)
