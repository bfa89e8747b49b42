"""Images come from registries that the project trusts.

FROM, `COPY --from` and `from` of a RUN's mount. `*` at one end of an entry of `trusted-registries`
stands for anything; a name without a registry is Docker Hub's, `docker.io`. Variables have the
values that ARG gives them. Unlike in hadolint, names of stages may be in any case and their numbers
be used, and a registry may have a port.

Bad (with trusted-registries: docker.io):
    FROM example.org/base:1

Good (with trusted-registries: docker.io, *.example.org, localhost:5000):
    FROM debian:12 AS build
    FROM registry.example.org/base:1
    COPY --from=build /x /x
    COPY --from=0 /y /y
    RUN --mount=from=localhost:5000/tools,target=/t /t/x
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.source import Span
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File, Stage
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.ERROR

_HUB = ("docker.io", "index.docker.io", "hub.docker.com")


def check(file: File) -> Iterator[Finding]:
    trusted = file.settings.trusted_registries
    if not trusted:
        return
    for image, span in _images(file):
        registry = _registry(image)
        names = _HUB if registry in _HUB else (registry,)
        if not any(_matches(pattern, name) for pattern in trusted for name in names):
            yield Finding(
                span, f"`{registry}` is not one of the registries that the project trusts"
            )


def _images(file: File) -> Iterator[tuple[str, Span]]:
    """Yield what names an image, and no stage."""
    stages = {"scratch"}
    for stage in file.stages:
        if stage.parent is None:
            text = stage.base.text
            # A variable behind the registry does not change it.
            image = (
                text if "$" not in text.partition("/")[0] else file.variables.images[stage.index]
            )
            if image and image.lower() not in stages:
                yield image, stage.base.span
        for flag, name in _sources(stage):
            if name.lower() not in stages:
                yield name, flag.span
        stages.add(str(stage.index))
        if stage.name:
            stages.add(stage.name)


def _sources(stage: Stage) -> Iterator[tuple[ast.Flag, str]]:
    """Yield what COPY and the mounts of RUN read from."""
    for instruction in stage.of(ast.Copy):
        for flag in instruction.flags:
            if flag.name == "from" and flag.value:
                yield flag, flag.value
    for run in stage.runs:
        for flag, fields in run.mount_flags:
            if not run.is_trigger and fields.get("from"):
                yield flag, fields["from"]


def _registry(image: str) -> str:
    first, slash, _ = image.partition("/")
    return (
        first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
    )


def _matches(pattern: str, registry: str) -> bool:
    if pattern.startswith("*"):
        return registry.endswith(pattern[1:])
    if pattern.endswith("*"):
        return registry.startswith(pattern[:-1])
    return registry == pattern
