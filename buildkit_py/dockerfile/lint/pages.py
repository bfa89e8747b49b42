"""The rules' docstrings as pages: what `--explain` prints, and docs/lint.md."""

from __future__ import annotations

from buildkit_py.core.errors import InputError
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.lint.registry import all_rules
from buildkit_py.dockerfile.lint.rule import Rule


def listing() -> str:
    """Return one line for each rule."""
    lines = []
    for rule in all_rules():
        notes = [rule.alias] if rule.alias else []
        notes += [f"with {_key(rule.setting)}"] if rule.setting else []
        notes += ["off by default"] if _is_off(rule) else []
        note = f" ({', '.join(notes)})" if notes else ""
        lines.append(f"{rule.code:<32} {rule.severity.word:<8} {rule.heading}{note}\n")
    return "".join(lines)


def _is_off(rule: Rule) -> bool:
    return rule.experimental or (not rule.default and rule.setting is None)


def _key(setting: str) -> str:
    """Return the name that a setting has in configurations."""
    return setting.replace("_", "-")


def explain(code: str) -> str:
    """Return the page of a rule; raise InputError when there is none of that name."""
    for rule in all_rules():
        if code in (rule.code, rule.alias):
            title = f"{rule.code} ({rule.alias})" if rule.alias else rule.code
            return f"{title}, {rule.severity.word}\n\n{rule.page}\n\nTo leave it out, write above the instruction: # pybuild: ignore[{rule.code}] reason\n"  # noqa: E501
    codes = [code for rule in all_rules() for code in (rule.code, rule.alias) if code]
    raise InputError(
        f"no rule is called `{code}`",
        code="lint/unknown-rule",
        hint=did_you_mean(code, codes) or "`pybuild lint --list-rules` shows all",
    )


OTHERS = {
    "DL1000": "The file is no Dockerfile",
    "PB901": "A comment names a rule, or an option, that nobody knows",
}
"""Findings that are no rule's."""


def heading_of(code: str) -> str:
    """Return the heading of a code's page."""
    rule = next((each for each in all_rules() if code in (each.code, each.alias)), None)
    return rule.heading if rule else OTHERS.get(code, code)


def summary(rule: Rule) -> str:
    """Return a page's heading and first paragraph, as one line."""
    text = rule.page.partition("\nBad")[0].strip()
    return " ".join(text.split())


def markdown(rule: Rule) -> str:
    """Return a rule's page as a section of Markdown; examples become blocks of code."""
    on = "off by default" if _is_off(rule) else "on by default"
    if rule.setting is not None:
        on = f"on where `{_key(rule.setting)}` is set"
    alias = f" · hadolint's `{rule.alias}`" if rule.alias else ""
    heading, _, rest = rule.page.partition("\n")
    lines = [f"### `{rule.code}`", "", f"**{heading}** {rule.severity.word} · {on}{alias}"]
    in_code = False
    for line in rest.split("\n"):
        is_code = line.startswith("    ") or (in_code and not line)
        if is_code and not in_code:
            lines.append("```dockerfile")
        if in_code and not is_code:
            while lines[-1] == "":
                lines.pop()
            lines += ["```", ""]
        in_code = is_code
        if is_code:
            lines.append(line[4:])
        elif line.startswith(("Bad", "Good")) and line.endswith(":"):
            lines += [line, ""]
        else:
            lines.append(line)
    if in_code:
        while lines[-1] == "":
            lines.pop()
        lines.append("```")
    return "\n".join(lines).rstrip() + "\n"
