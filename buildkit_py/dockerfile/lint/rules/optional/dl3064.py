"""ARG and ENV hold no secrets and no names of users.

hadolint's form: it goes by parts of the name. SecretsUsedInArgOrEnv, which replaces it by
default, goes by whole words and knows more of them. Unlike hadolint, names that end in `_FILE`,
`_VERSION` or `_PATH` are left alone, and so is what only begins like one (`TOKENIZER`).

Bad:
    FROM debian:12
    ENV DB_PASSWORD=x

Good:
    FROM debian:12
    ENV DB_PASSWORD_FILE=/run/secrets/db TOKENIZER_VERSION=2
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_PARTS = (
    "access_key",
    "api_key",
    "client_key",
    "password",
    "private",
    "secret",
    "token",
    "username",
)
_HARMLESS = ("_file", "_version", "_path", "_dir", "_url")


def check(file: File) -> Iterator[Finding]:
    for instruction in file.instructions:
        each = instruction.trigger if isinstance(instruction, ast.Onbuild) else instruction
        if not isinstance(each, ast.Arg | ast.Env):
            continue
        for pair in each.pairs:
            name = pair.key.text.lower().replace("tokeniz", "")
            if any(part in name for part in _PARTS) and not name.endswith(_HARMLESS):
                yield Finding(pair.key.span, f"`{pair.key.text}` looks like a secret")
