"""Whole files: what BuildKit's checks say and where, broken files, places inside RUN."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.ignore import Patterns
from buildkit_py.dockerfile.lint.run import lint
from buildkit_py.dockerfile.lint.select import select


def found(text: str, preset: str = "buildkit") -> list[tuple[str, str]]:
    return [(each.code, each.span.text) for each in lint(Source("f", text), select(preset))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a:$B\n", [("UndefinedArgInFrom", "$B"), ("InvalidDefaultArgInFrom", "a:$B")]),
        ("ARG B=1\nFROM a:${B}\n", []),
        ("ARG B\nFROM a${B:-c}\n", []),
        ("FROM --platform=$TARGETPLATFRM/a b\n", [("UndefinedArgInFrom", "$TARGETPLATFRM")]),
        ("FROM a AS b\nFROM b AS B\n", [("StageNameCasing", "B"), ("DuplicateStageName", "B")]),
        ("FROM a\nARG b\nCOPY $b $c /\n", [("UndefinedVar", "$c")]),
        ("FROM a\nENV b=1 c=$b\n", [("UndefinedVar", "$b")]),
        ("FROM a\nENV PATH=/b:$PATH\n", []),
        ("FROM a AS b\nENV c=1\nFROM b\nCOPY $c /\n", []),
        ("FROM a AS b\nENV c=1\nFROM a\nCOPY $c /\n", [("UndefinedVar", "$c")]),
        ("ARG b=1\nFROM a\nCOPY $b /\n", [("UndefinedVar", "$b")]),
        ("ARG b=1\nFROM a\nARG b\nCOPY $b /\n", []),
        ("FROM a\nCOPY <<E /x\n$b\nE\n", [("UndefinedVar", "$b")]),
        ("FROM a\nCOPY <<'E' /x\n$b\nE\n", []),
        ("FROM a\nLABEL x='$b'\n", []),
        ("FROM a\nRUN echo $b\nCMD [\"$c\"]\nEXPOSE $d\n", []),
        ("FROM a\nRUN --mount=target=$b,type=tmpfs c\n", [("UndefinedVar", "$b")]),
        ("FROM a\nWORKDIR $b\n", [("WorkdirRelativePath", "$b"), ("UndefinedVar", "$b")]),
        ("FROM a\nENV b=/c\nWORKDIR $b\nWORKDIR d\n", []),
        ("FROM a\nCMD a\nSHELL [\"b\"]\nENTRYPOINT c\n", [("JSONArgsRecommended", "CMD a")]),
        ("FROM a\nHEALTHCHECK CMD a\n", []),
        ("from a\nCOPY b c\ncopy d e\n", [("ConsistentInstructionCasing", "COPY")]),
        ("FROM a\ncopy b c\n", [("ConsistentInstructionCasing", "copy")]),
        ("FROM a\nENV a_key=1 KEYS=2 x_token_file=3\n", [("SecretsUsedInArgOrEnv", "a_key")]),
        ("ARG token\nFROM a\n", []),
        ("FROM a\nEXPOSE 80/TCP [::1]:80:80\n",
         [("ExposeProtoCasing", "80/TCP"), ("ExposeInvalidFormat", "[::1]:80:80")]),
        ("FROM --platform=linux/arm64 a AS arm64\nFROM --platform=$TARGETPLATFORM a\n",
         [("RedundantTargetPlatform", "--platform=$TARGETPLATFORM")]),
        ("FROM a\nRUN b \\\n\n  # c\n  d\n", [("NoEmptyContinuation", "  d")]),
        ("FROM a\nRUN <<E\n\nb\nE\n", []),
        ("FROM a\nONBUILD ENV b c\nONBUILD CMD d\n", []),
        ("FROM a\nENV b c\nLABEL d e\n",
         [("LegacyKeyValueFormat", "b c"), ("LegacyKeyValueFormat", "d e")]),
    ],
)  # fmt: skip
def test_buildkits_checks(text: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(found(text)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM a\nENV b=${c d=1\n", ["${c"]),
        ("ARG b=${c:x}\nFROM a:${b\n", [":x", "${b"]),
        ('FROM a\nLABEL b="c\nUSER ${d,,}\n', ['"c', ","]),
        ("FROM a\nCOPY <<E /\n${b,}\nE\n", [","]),
        ("FROM a\nWORKDIR /${b#\\q}\n", ["${b#\\q}"]),
        ("FROM a\nRUN --mount=type=tmpfs,target=${b c\n", ["--mount=type=tmpfs,target=${b"]),
        # These depend on what the base image or a build argument sets; RUN is the shell's.
        ("FROM a\nUSER ${b:?needed}\nCOPY ${c?} /\n", []),
        ("FROM a\nRUN echo ${b,,}\nCMD ${c\n", []),
    ],
)
def test_a_word_that_no_build_can_expand_is_a_finding_beside_the_others(
    text: str, words: list[str]
) -> None:
    reports = lint(Source("f", text), select("default", ignore=["ALL"]))

    assert [(each.code, each.alias, each.level) for each in reports] == [
        ("DL1000", "dockerfile/bad-word", "error")
    ] * len(words)
    assert [each.span.text for each in reports] == words


def test_a_word_that_cannot_be_expanded_hides_no_other_finding() -> None:
    assert found("FROM a\nENV b=${c\nCMD d\n", "default") == [
        ("DL3006", "a"),
        ("DL1000", "${c"),
        ("JSONArgsRecommended", "CMD d"),
    ]


def test_places_inside_a_run_are_true() -> None:
    text = """\
FROM debian:12
RUN set -e; \\
    # a comment
    cd /x && \\
    curl -s https://example.org \\
      | tar x
RUN <<EOF
apt-get update
apt-get install -y \\
  curl
EOF
"""

    places = {
        report.code: (report.span.line, report.span.column, report.span.text)
        for report in lint(Source("f", text), select("strict"))
    }

    assert places["DL3003"] == (4, 5, "cd /x")
    assert places["DL4006"] == (6, 7, "|")
    assert places["DL3009"] == (8, 1, "apt-get update")
    assert places["DL3008"] == (10, 3, "curl")


def test_scripts_of_other_languages_are_not_read() -> None:
    text = """\
FROM a:1
RUN <<EOF
#!/usr/bin/env python3
import os; cd = 1
cd /x
EOF
SHELL ["powershell", "-Command"]
RUN cd x; apt update
"""

    assert found(text, "strict") == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_comment_can_tell_the_shell_of_the_base_image(place: int) -> None:
    lines = ["FROM a:1", "RUN cd x | sudo y", "RUN cd z", 'SHELL ["sh", "-c"]', "RUN sudo b"]
    lines.insert(place, "# hadolint shell=powershell # a Windows image")

    assert found("\n".join(lines) + "\n", "strict") == [("DL3004", "sudo")]


def test_a_shell_that_reads_a_heredoc_is_read_along() -> None:
    text = "FROM a:1\nRUN bash -e <<EOF\nsudo x\nEOF\n"

    assert found(text, "strict") == [("DL3004", "sudo")]


def test_that_a_file_is_broken_is_one_finding() -> None:
    (report,) = lint(Source("f", "FROM a:1\nRUM b\nCPY c\n"), select())

    assert (report.code, report.alias) == ("DL1000", "dockerfile/unknown-instruction")
    assert (report.level, report.span.text) == ("error", "RUM")
    assert report.message == "unknown instruction `RUM`; did you mean `RUN`?"


def test_what_can_be_read_of_a_broken_file_is_checked() -> None:
    text = """\
FROM debian
ENV a b
RUN cd /x
# hadolint ignore=DL3004
RUM b
RUN sudo c
RUN d
COPY $e /f
ENV g h
"""
    assert found(text, "strict") == [
        ("DL3006", "debian"),
        ("LegacyKeyValueFormat", "a b"),
        ("DL3003", "cd /x"),
        ("DL1000", "RUM"),
        # The comment was about what could not be read, which might have set `$e`.
        ("DL3004", "sudo"),
        ("LegacyKeyValueFormat", "g h"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN sudo x\nFROM a:1\nENV b c\n", ["DL1000", "LegacyKeyValueFormat"]),
        ("FROM a:1\nENV b c\nRUN <<E\nsudo x\n", ["LegacyKeyValueFormat", "DL1000"]),
        ("FROM a:1\nENV b c\nCOPY d\n", ["LegacyKeyValueFormat", "DL1000"]),
        ("# escape=x\nFROM a:1\nENV b c\n", ["DL1000", "LegacyKeyValueFormat"]),
        ("FROM a b\nENV c d\n", ["DL1000", "LegacyKeyValueFormat"]),
        ("", ["DL1000"]),
        ("ARG token=\n", ["DL1000"]),
    ],
)
def test_a_broken_file_keeps_its_findings(text: str, expected: list[str]) -> None:
    assert [code for code, _ in found(text, "buildkit")] == expected


def test_a_broken_file_cannot_be_excused() -> None:
    text = "# hadolint global ignore=DL1000\nRUM b\n"

    assert [each.code for each in lint(Source("f", text), select(ignore=["DL1000"]))] == ["DL1000"]


def test_what_the_ignore_file_leaves_out() -> None:
    text = "FROM a:1\nCOPY . b/c.log ../d /\nADD http://x/y.log /\nCOPY --from=a e.log /\n"

    def codes(ignore: str) -> list[str]:
        patterns = Patterns.parse(Source("i", ignore))
        reports = lint(Source("f", text), select("buildkit"), ignore=patterns)
        return [report.span.text for report in reports]

    assert codes("**/*.log\n") == ["b/c.log"]
    assert codes("**/*.log\n!x\n") == []
    assert codes("*\n") == [".", "b/c.log", "../d"]


LINES = st.sampled_from(
    ["FROM a", "FROM $b AS C", "from a as d", "FROM --platform=$x ${e:-f}", "ARG b=1", "ARG",
     "ENV a $b", 'ENV a="$(x)" c=${b:-', "RUN a | b && cd x", "RUN apt-get install -y a $b",
     "RUN sh -c 'pip install x'", 'RUN ["apt", "update"]', "RUN <<E\nsudo x\nE", "RUN a \\\n\n b",
     "RUN --mount=type=cache,target=/var/lib/apt apt-get update", "COPY a b", "ADD $x /",
     "COPY --from=d <<E b\n$x\nE", "USER root", "USER $b", "WORKDIR a", "WORKDIR ''",
     "SHELL [\"x\"]", "CMD a", "ENTRYPOINT a", "HEALTHCHECK NONE", "EXPOSE 80/TCP 1:2", "LABEL a b",
     "VOLUME $x", "MAINTAINER a", "ONBUILD RUN sudo apt install x", "STOPSIGNAL $x",
     "# hadolint ignore=DL3006,x", "# check=skip=all", "# pybuild: ignore[all]", "",
     "RUN yum install a-1", "RUN apk add -t x y", "RUN wget x; curl y", "RUN 'a",
     "RUM a", "COPY a", "FROM a b", "ENV", "HEALTHCHECK --x CMD a", "LABEL a b=c d"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(LINES, max_size=15), st.sampled_from(["default", "strict", "buildkit", "hadolint"]))
def test_no_file_makes_lint_raise(lines: list[str], preset: str) -> None:
    text = "\n".join(["FROM a", *lines])

    reports = lint(Source("f", text), select(preset))

    for report in reports:
        assert 0 <= report.span.start <= report.span.end <= len(text)
        assert report.end >= (report.span.line, report.span.column)
    keys = [(report.span.start, report.span.end, report.code) for report in reports]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("word", "named"),
    [("${a:-b}:c", "`${a:-b}`"), ('"${a}":1', "`${a}`"), ("node:1", "`node`"), ("1:node", "")],
)
def test_the_user_is_what_stands_before_the_colon(word: str, named: str) -> None:
    reports = lint(Source("f", f"FROM a:1\nUSER {word}\n"), select(only=["DL3066"]))

    assert [each.message for each in reports] == [f"{named} is not a number"] * bool(named)
