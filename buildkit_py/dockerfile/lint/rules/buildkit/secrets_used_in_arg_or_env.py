"""Secrets are not in ARG or ENV.

ENV ends up in the image, ARG in its history: whoever can pull the image can read them. A secret
mount gives it to one RUN and to nothing else. Known by the name: a word of it is `key`, `token`,
`password`, ... and none is `public`, `file` or `version`.

Bad:
    FROM debian:12
    ARG GITHUB_TOKEN

Good:
    FROM debian:12
    RUN --mount=type=secret,id=github_token ./fetch
    ENV DB_PASSWORD_FILE=/run/secrets/db
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

SECRET = frozenset(
    "apikey auth credential credentials key password pword passwd secret token".split()
)
ALLOWED = frozenset("public file version".split())


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            if not isinstance(instruction, ast.Arg | ast.Env):
                continue
            for pair in instruction.pairs:
                words = frozenset(pair.key.text.lower().split("_"))
                if words & SECRET and not words & ALLOWED:
                    keyword = instruction.keyword.text.upper()
                    yield Finding(
                        pair.key.span,
                        f"`{pair.key.text}` looks like a secret; `{keyword}` keeps it in the image",
                    )
