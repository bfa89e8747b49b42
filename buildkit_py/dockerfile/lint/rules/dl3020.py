"""COPY copies; ADD is for archives and for what comes from elsewhere.

ADD unpacks archives and downloads: what it does depends on what the file is. Unlike hadolint, Git
repositories, variables, heredocs and `.tar.zst` are known.

Bad:
    FROM debian:12
    ADD app.py /app/

Good:
    FROM debian:12
    COPY app.py /app/
    ADD rootfs.tar.xz /
    ADD https://example.org/x /x
    ADD git@example.org:x/y.git /y
    ADD $URL /z
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.ERROR
alone = True

_ARCHIVES = (
    ".tar", ".z", ".bz2", ".gz", ".lz", ".lzma", ".tz", ".tb2", ".tbz", ".tbz2", ".tgz", ".tlz",
    ".tpz", ".txz", ".xz", ".zst", ".tzst",
)  # fmt: skip


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            if not isinstance(instruction, ast.Add):
                continue
            plain = [word for word in instruction.sources if _is_plain(word.text)]
            if plain:
                yield Finding(
                    plain[0].span,
                    f"`{plain[0].text}` is copied as it is; use `COPY`",
                    _copy_instead(instruction) if len(plain) == len(instruction.sources) else (),
                )


def _is_plain(text: str) -> bool:
    text = text.lower().strip("'\"")
    return not (
        text.endswith(_ARCHIVES) or "://" in text or text.startswith(("git@", "<<")) or "$" in text
    )


def _copy_instead(instruction: ast.Add) -> tuple[Edit, ...]:
    if any(flag.name not in ("chown", "chmod", "link") for flag in instruction.flags):
        return ()
    # A pattern or a directory may hold archives, but those ADD does not unpack from a directory;
    # a pattern it may.
    if any(mark in word.text for word in instruction.sources for mark in "*?["):
        return ()
    keyword = instruction.keyword
    return (Edit(keyword.span, "copy" if keyword.text.islower() else "COPY"),)
