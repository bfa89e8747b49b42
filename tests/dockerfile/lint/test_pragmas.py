"""Comments that leave findings out: hadolint's, BuildKit's, ours."""

from __future__ import annotations

import pytest

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.lint.run import lint
from buildkit_py.dockerfile.lint.select import select


def found(text: str, *only: str) -> list[tuple[str, int]]:
    selection = select(None, only=only or ("DL3006", "DL3007", "DL3020", "StageNameCasing"))
    return [(each.code, each.span.line) for each in lint(Source("f", text), selection)]


@pytest.mark.parametrize(
    "comment",
    [
        "# hadolint ignore=DL3006",
        "#hadolint ignore=DL3006",
        "# hadolint ignore=DL3020, DL3006",
        "# hadolint ignore = DL3020,DL3006 # since it is a test",
        "# hadolint ignore=DL3006 and this is why",
        "# hadolint ignore=all",
        "# hadolint global ignore=DL3006",
        "# pybuild: ignore[DL3006] no tag yet",
        "# pybuild: ignore[all]",
        "# pybuild: ignore-file[DL3006]",
        "# check=skip=DL3006",
        "# hadolint ignore=DL3006\n\n# another comment",
        "# hadolint ignore=DL3020\n# hadolint ignore=DL3006",
        "# hadolint stage ignore=DL3006",
    ],
)
def test_the_next_instruction_is_left_alone(comment: str) -> None:
    assert found(f"# a file\n\n{comment}\nFROM debian\n") == []


@pytest.mark.parametrize(
    "comment",
    ["# hadolint ignore=DL3007", "# hadolint ignored=DL3006", "# ignore=DL3006",
     "# hadolint ignore=DL3007 DL3006", "# pybuild: ignore DL3006", "# check=skip=all"],
)  # fmt: skip
def test_another_comment_leaves_nothing_out(comment: str) -> None:
    assert found(f"# a file\n\n{comment}\nFROM debian\n") == [("DL3006", 4)]


def test_only_the_next_instruction_is_meant() -> None:
    text = "# hadolint ignore=DL3006\nFROM debian\nFROM alpine\n"

    assert found(text) == [("DL3006", 3)]


def test_a_stage_is_meant_up_to_the_next() -> None:
    text = """\
# hadolint stage ignore=DL3020
FROM debian:12
ADD a /a
FROM debian:12
ADD b /b
"""

    assert found(text) == [("DL3020", 5)]


def test_a_global_comment_may_stand_at_the_end() -> None:
    assert found("FROM debian\n# hadolint global ignore=DL3006\n") == []


def test_inside_an_instruction_a_comment_means_the_line_below() -> None:
    text = """\
FROM debian:12
RUN echo a && \\
    # hadolint ignore=DL3004
    sudo b
RUN sudo c && \\
    # hadolint ignore=DL3004
    d
"""

    assert found(text, "DL3004") == [("DL3004", 5)]


def test_text_in_a_heredoc_is_no_comment() -> None:
    text = "FROM debian:12\nRUN <<EOF\n# hadolint global ignore=DL3006\nEOF\nFROM debian\n"

    assert found(text) == [("DL3006", 5)]


def test_checks_are_skipped_for_a_file_or_an_instruction() -> None:
    text = "FROM debian:12 AS A\nFROM debian:12 AS B\n"

    assert found(f"# check=skip=StageNameCasing\n{text}") == []
    assert found(f"# check=skip=all\n{text}") == []
    assert found(f"#\n# check=skip=StageNameCasing // why\n{text}") == [("StageNameCasing", 4)]


def test_skipping_all_checks_leaves_the_other_rules() -> None:
    assert found("# check=skip=all\nFROM debian AS A\n") == [("DL3006", 2)]


def test_error_true_makes_checks_grave() -> None:
    selection = select(None, only=("StageNameCasing", "DL3006"))

    reports = lint(Source("f", "# check=error=true\nFROM debian AS A\n"), selection)

    assert [(each.code, each.level) for each in reports] == [
        ("DL3006", "warning"),
        ("StageNameCasing", "error"),
    ]


def test_an_experimental_check_runs_when_the_file_asks() -> None:
    text = "# wrong\nARG A=debian:12\nFROM $A\n"
    asked = f"# check=experimental=InvalidDefinitionDescription\n{text}"

    assert found(text, "DL3006") == []
    assert found(asked, "DL3006") == [("InvalidDefinitionDescription", 3)]


def test_a_code_that_nobody_knows_is_told_and_spoils_nothing() -> None:
    text = "# hadolint ignore=DL3006,StageNameCasin,SC2086,DL3999\nFROM debian\n"
    selection = select(None, only=("DL3006",))

    (report,) = lint(Source("f", text), selection)

    assert (report.code, report.span.text) == ("PB901", "StageNameCasin")
    assert report.message == "no rule is called `StageNameCasin`; did you mean `StageNameCasing`?"
