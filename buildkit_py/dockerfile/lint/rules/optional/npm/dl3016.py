"""Pin the versions of npm packages.

Off by default, as all rules about pinning. A package without a version is whatever is newest when
the image is built. `npm install` alone takes the versions of package-lock.json. Unlike in
hadolint, `npm i` and `npm add` are known, and `@latest` is no version.

Bad:
    FROM node:22
    RUN npm install --global express

Bad:
    FROM node:22
    RUN npm i @myorg/x git+https://example.org/y.git

Good:
    FROM node:22
    RUN npm install && npm install -g express@4.1.1 @myorg/x@2 ./y z.tgz $more
    RUN npm install git+https://example.org/y.git#v1.0 --registry https://example.org
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import NPM_VALUED, named
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.shell.calls import operands

severity = Severity.WARNING
alone = True

_GIT = ("git://", "git+ssh://", "git+http://", "git+https://", "github:", "gitlab:", "bitbucket:")
_FILES = (".tar", ".tar.gz", ".tgz")
_FOLDERS = ("/", "./", "../", "~/", "file:")


def check(file: File) -> Iterator[Finding]:
    for _, program in file.calls("npm"):
        words = operands(program.call.arguments, NPM_VALUED)
        if not words or words[0].value not in ("install", "i", "add"):
            continue
        loose = [word for word in words[1:] if word.literal and not _is_pinned(word.value)]
        if loose:
            yield Finding(
                program.of(loose[0]), f"no version for {named(loose)}: write `name@version`"
            )


def _is_pinned(value: str) -> bool:
    if value.startswith(_GIT):
        return "#" in value
    if value.endswith(_FILES) or value.startswith(_FOLDERS) or value in (".", ".."):
        return True
    _, at, version = value[1:].partition("@")
    return bool(at) and version not in ("", "latest", "next")
