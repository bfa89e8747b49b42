"""Pin the versions of Python packages.

Off by default, as all rules about pinning. Unlike hadolint, packages beside `-r file` are looked
at, values of `--group` are not taken for packages, and neither are variables.

Bad:
    FROM python:3.12
    RUN pip install flask

Bad:
    FROM python:3.12
    RUN python3 -m pip install -r requirements.txt flask

Good:
    FROM python:3.12
    RUN pip install flask==3.0 "gunicorn>=21" -r requirements.txt
    RUN pip install -c constraints.txt flask
    RUN pip install . ./x.whl git+https://example.org/x.git@v1 $EXTRA
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Program, Run
from buildkit_py.dockerfile.lint.packages import PIP_VALUED, first_by_run, named, pip_installs
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.shell.calls import operands
from buildkit_py.dockerfile.shell.script import ShellWord

severity = Severity.WARNING
alone = True

_COMPARISONS = ("==", ">=", "<=", ">", "<", "!=", "~=", "===")
_SCHEMES = ("git+", "hg+", "svn+", "bzr+")


def check(file: File) -> Iterator[Finding]:
    for _, program, words in first_by_run(_unpinned(file)):
        yield Finding(program.of(words[0]), f"no version for {named(words)}: write `name==version`")


def _unpinned(file: File) -> Iterator[tuple[Run, Program, list[ShellWord]]]:
    for run, program, arguments in pip_installs(file):
        names = {word.value.partition("=")[0] for word in arguments}
        if names & {"-c", "--constraint"}:
            continue
        words = operands(arguments, PIP_VALUED)
        yield run, program, [word for word in words if not _is_pinned(word)]


def _is_pinned(word: ShellWord) -> bool:
    value = word.value
    if not word.literal or any(mark in value for mark in _COMPARISONS):
        return True
    if value.startswith(_SCHEMES):
        return "@" in value.rpartition("/")[2]
    return value.endswith((".whl", ".tar.gz", ".zip")) or "/" in value or value.startswith(".")
