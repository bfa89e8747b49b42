"""What the parser takes and no build does, and comments `# check=` that mean nothing."""

from __future__ import annotations

import pytest

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.lint.run import lint
from buildkit_py.dockerfile.lint.select import select


def found(text: str, **choice: list[str]) -> list[tuple[str, str]]:
    selection = select(choice.get("preset", ["buildkit"])[0])
    return [(each.code, each.span.text) for each in lint(Source("f", text), selection)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN --mount=type=foo a", ["--mount=type=foo"]),
        ("RUN --mount=type=cache,tagret=/b a", ["--mount=type=cache,tagret=/b"]),
        ("RUN --mount=type=secret a", ["--mount=type=secret"]),
        ("RUN --mount=type=cache,target=/b --mount=type=tmpfs,target=/c,size=1g a", []),
        ("RUN --mount=type=$BUILDOS a", []),
        ("EXPOSE 99999999", ["99999999"]),
        ("EXPOSE 80 443/TCP 8000-8010/udp \"90\" 0", []),
        ("EXPOSE 80/http abc 90-80 0x10", ["80/http", "abc", "90-80", "0x10"]),
        ("EXPOSE $BUILDOS ${BUILDOS:-abc}", []),
        ("STOPSIGNAL SIGFOO", ["SIGFOO"]),
        ("STOPSIGNAL SIGRTMIN+3", []),
        ("STOPSIGNAL $BUILDOS", []),
        ("COPY --chmod=888 a b", ["--chmod=888"]),
        ("COPY --chmod=u=rwX,go=rX a b", []),
        ("ADD --chmod=$BUILDOS a b", []),
        ("ONBUILD EXPOSE 99999999", []),
    ],
)  # fmt: skip
def test_what_no_build_takes_is_an_error(line: str, words: list[str]) -> None:
    text = f"FROM a:1\nARG BUILDOS\n{line}\n"

    errors = [word for code, word in found(text) if code == "DL1000"]

    assert errors == words


def test_it_cannot_be_excused_and_says_what_is_meant() -> None:
    text = "# pybuild: ignore-file[all]\nFROM a:1\nRUN --mount=type=tmpf b\n"

    (report,) = lint(Source("f", text), select(ignore=["DL1000"]))

    assert (report.code, report.alias, report.level) == ("DL1000", "dockerfile/bad-mount", "error")
    assert report.message == "unsupported mount type `tmpf`; did you mean `tmpfs`?"


def test_a_port_that_is_too_large_is_said_once() -> None:
    text = "FROM a:1\nEXPOSE 80000 80/x\n"

    assert found(text, preset=["hadolint"]) == [("DL3011", "80000"), ("DL1000", "80/x")]
    assert found(text, preset=["default"]) == [("DL1000", "80000"), ("DL1000", "80/x")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("foo=bar", ("DL1000", "foo")),
        ("skip=StageNameCasing;errors=true", ("DL1000", "errors")),
        ("error", ("DL1000", "error")),
        ("error=yes", ("DL1000", "yes")),
        ("skip=StageNameCasing; error=true", ("DL1000", ";")),
        ("skip=NoSuchRule", ("PB901", "NoSuchRule")),
        ("skip=StageNameCasing, FromAsCasing", ("PB901", "FromAsCasing")),
        ("skip= FromAsCasing", ("PB901", "FromAsCasing")),
        ("experimental=NoSuchRule", ("PB901", "NoSuchRule")),
        ("skip=StageNameCasing,NoSuchRule;error=false", ("PB901", "NoSuchRule")),
    ],
)
def test_a_directive_check_that_means_nothing_is_told(
    value: str, expected: tuple[str, str]
) -> None:
    assert found(f"# check={value}\nFROM a:1\n") == [expected]


@pytest.mark.parametrize(
    "value",
    ["skip=all", "skip=all;error=true;experimental=all", "skip=StageNameCasing,DL3006", "error=T",
     "experimental=InvalidDefinitionDescription", "skip=StageNameCasing // a reason", ""],
)  # fmt: skip
def test_a_directive_check_that_means_something_is_no_finding(value: str) -> None:
    assert found(f"# check={value}\nFROM a:1\n") == []


def test_the_comment_above_an_instruction_is_told_about_and_breaks_nothing() -> None:
    text = (
        "FROM a:1\n# check=skp=X\nENV a=1\n# check=skip=Nope,LegacyKeyValueFormat // b\nENV c d\n"
    )

    assert found(text) == [("PB901", "skp"), ("PB901", "Nope")]


@pytest.mark.parametrize("comment", ["check = this", "Check == that", "check=", "checks=skip=x"])
def test_prose_is_no_option(comment: str) -> None:
    assert found(f"FROM a:1\n# {comment}\nENV a=1\n") == []


def test_what_stands_behind_a_blank_above_an_instruction_is_told_too() -> None:
    text = "FROM a:1\n# check=skip=FromAsCasing, StageNameCasing\nENV a=1\n"

    assert found(text) == [("PB901", "StageNameCasing")]
