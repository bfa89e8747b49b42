"""Pin the versions of what `go install`, `go get` and `go run` load.

Off by default, as all rules about pinning. `@latest` is no version.

Bad:
    FROM golang:1.24
    RUN go install example.org/tool@latest

Good:
    FROM golang:1.24
    RUN go install example.org/tool@v1.2.3 && go run ./cmd/x && go get -tool example.org/y@v2
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import GO_VALUED, named
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.shell.calls import operands

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program in file.calls("go"):
        words = operands(program.call.arguments, GO_VALUED)
        if not words or words[0].value not in ("install", "get", "run"):
            continue
        # What stands behind the package that is run are its arguments.
        packages = words[1:2] if words[0].value == "run" else words[1:]
        loose = [word for word in packages if word.literal and not _is_pinned(word.value)]
        if loose:
            yield Finding(
                program.of(loose[0]), f"no version for {named(loose)}: write `name@version`"
            )


def _is_pinned(value: str) -> bool:
    if value.startswith((".", "/")) or value.endswith(".go"):
        return True
    _, at, version = value.partition("@")
    return bool(at) and version not in ("", "latest", "none", "upgrade", "patch")
