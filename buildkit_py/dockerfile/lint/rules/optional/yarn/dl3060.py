"""yarn's cache does not stay in the image.

Only stages count whose layers are part of an image.

Bad:
    FROM node:22
    RUN yarn install

Good:
    FROM node:22
    RUN yarn install && yarn cache clean
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Program
from buildkit_py.dockerfile.lint.packages import NPM_VALUED, uncleaned, verb_of
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO

_VERBS = ("install",)


def check(file: File) -> Iterator[Finding]:
    for program in uncleaned(file, _installs, _cleans, "/.cache/yarn", "yarn"):
        yield Finding(program.span, "yarn's cache stays in the image; end with `yarn cache clean`")


def _installs(program: Program) -> bool:
    return program.name in ("yarn",) and verb_of(program, NPM_VALUED) in _VERBS


def _cleans(program: Program) -> bool:
    return program.name == "yarn" and program.call.has("cache") and program.call.has("clean")
