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
        notes += ["off by default"] if not rule.default or rule.experimental else []
        note = f" ({', '.join(notes)})" if notes else ""
        lines.append(f"{rule.code:<32} {rule.severity.word:<8} {rule.heading}{note}\n")
    return "".join(lines)


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


def markdown(rule: Rule) -> str:
    """Return a rule's page as a section of Markdown; examples become blocks of code."""
    on = "on by default" if rule.default and not rule.experimental else "off by default"
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
