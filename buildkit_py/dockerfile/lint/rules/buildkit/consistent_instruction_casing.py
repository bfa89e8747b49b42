"""All instructions of a file are in the same case.

Upper case or lower case: the file decides, by the majority of its instructions. Arguments before
the first FROM do not count, and neither do instructions in mixed case, which are always wrong.

Bad:
    FROM debian:12
    copy app /app
    CMD ["/app"]

Bad:
    From debian:12

Good:
    from debian:12
    copy app /app
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    keywords = [
        instruction.keyword for stage in file.stages for instruction in (stage.origin, *stage.body)
    ]
    lower = sum(word.text.islower() for word in keywords)
    upper = sum(word.text.isupper() for word in keywords)
    is_lower = lower > upper
    for word in keywords:
        wanted = word.text.lower() if is_lower else word.text.upper()
        if word.text != wanted:
            yield Finding(
                word.span,
                f"`{word.text}` is not in {'lower' if is_lower else 'upper'} case as the others",
                (Edit(word.span, wanted),),
            )
