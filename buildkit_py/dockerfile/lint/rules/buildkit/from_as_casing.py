"""FROM and AS are in the same case.

Mixed case in one line is hard to skim. A FROM that is itself in mixed case is the business of
ConsistentInstructionCasing.

Bad:
    FROM debian:12 as build

Bad:
    from debian:12 AS build

Good:
    FROM debian:12 AS build

Good:
    from debian:12 as build
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        keyword, words = stage.origin.keyword.text, stage.origin.words
        if len(words) != 3 or keyword not in (keyword.lower(), keyword.upper()):
            continue
        word = words[1]
        wanted = "as" if keyword == keyword.lower() else "AS"
        if word.text != wanted:
            edit = Edit(word.span, wanted)
            yield Finding(word.span, f"`{word.text}` and `{keyword}` differ in case", (edit,))
