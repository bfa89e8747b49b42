"""Whole Dockerfiles become the trees that BuildKit's parser makes of them, with true spans.

The golden files were compared with BuildKit's own parser when they were made.
"""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source, Span
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.dump import file_record, instruction_record
from buildkit_py.dockerfile.errors import first_of
from buildkit_py.dockerfile.instructions import BUILDERS
from buildkit_py.dockerfile.parse import parse, parse_instruction, source_of

CASES = Path(__file__).parents[2] / "fixtures" / "dockerfiles"
READ = sorted(path.parent.name for path in CASES.glob("*/ast.json"))


def read(case: str) -> ast.Dockerfile:
    return parse(source_of("Dockerfile", (CASES / case / "Dockerfile").read_bytes()))


@pytest.mark.parametrize("case", READ)
def test_a_dockerfile_is_read_as_buildkit_does(
    case: str, golden: Callable[[Path, str], None]
) -> None:
    record = file_record("Dockerfile", read(case))

    golden(CASES / case / "ast.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def words(node: object) -> Iterator[ast.Word]:
    """Every word below a node, but names of stages, which are lower-cased, and JSON strings."""
    if isinstance(node, ast.Word):
        yield node
    elif isinstance(node, tuple):
        for each in node:
            yield from words(each)
    elif isinstance(node, ast.ExecForm) or getattr(node, "json", False):
        return
    elif dataclasses.is_dataclass(node) and not isinstance(node, Span | Source):
        for field in dataclasses.fields(node):
            if (type(node), field.name) != (ast.From, "name"):
                yield from words(getattr(node, field.name))


def strings(dockerfile: ast.Dockerfile) -> Iterator[ast.Word]:
    """Every string of a JSON array."""
    for each in dockerfile.instructions:
        inner = each.trigger if isinstance(each, ast.Onbuild) else each
        match inner:
            case ast.Run() | ast.Cmd() | ast.Entrypoint() | ast.Shell() | ast.Healthcheck():
                if isinstance(inner.command, ast.ExecForm):
                    yield from inner.command.words
            case ast.Volume(json=True):
                yield from inner.paths
            case ast.Copy(json=True) | ast.Add(json=True):
                yield from (*inner.sources, inner.dest)
            case _:
                pass


@pytest.mark.parametrize("case", READ)
def test_the_span_of_a_word_is_what_was_written(case: str) -> None:
    dockerfile = read(case)

    for word in words(dockerfile.instructions):
        if "\n" not in word.span.text:
            assert word.span.text == word.text
    for word in strings(dockerfile):
        written = json.loads(word.span.text)
        assert written.encode("utf-16", "replace") == word.text.encode("utf-16", "replace") or (
            "\ufffd" in word.text
        )


@pytest.mark.parametrize("case", READ)
def test_the_logical_lines_read_again_are_the_same(case: str) -> None:
    dockerfile = read(case)
    whole = [each for each in dockerfile.instructions if not each.heredocs]
    text = "\n".join(each.original for each in whole)
    if dockerfile.escape == "`":
        text = "# escape=`\n" + text
    if not isinstance(whole[0], ast.From | ast.Arg):
        text = "FROM scratch\n" + text

    again = parse(Source("again", text)).instructions

    assert [instruction_record(each)["args"] for each in again[-len(whole) :]] == [
        instruction_record(each)["args"] for each in whole
    ]


def test_all_18_instructions_are_known() -> None:
    dockerfile = read("all-instructions")

    assert len(BUILDERS) == 18
    assert {each.keyword.text for each in dockerfile.instructions} == set(BUILDERS)


def test_comments_above_an_instruction_are_kept() -> None:
    dockerfile = read("comments-above")

    assert [each.comments for each in dockerfile.instructions] == [
        ("about the file", "debian of last year", "is enough"),
        ("VERSION what to fetch",),
        ("one", "two"),
        ("indented",),
    ]


def test_a_chomped_heredoc_loses_its_tabs_and_its_span_keeps_them() -> None:
    dockerfile = parse(Source("f", "FROM a\nRUN <<-EOF\n\tone\n\t\ttwo\n\tEOF\n"))
    heredoc = dockerfile.instructions[1].heredocs[0]

    assert heredoc.content == "one\ntwo\n"
    assert heredoc.span.text == "\tone\n\t\ttwo\n"


def test_bytes_that_are_not_utf8_are_read() -> None:
    dockerfile = parse(source_of("f", b'FROM a\nRUN printf \xff\nCMD ["\xff"]\n'))

    assert dockerfile.instructions[1].original == "RUN printf \udcff"
    assert next(strings(dockerfile)).text == "\ufffd"


def test_the_trigger_of_an_image_is_one_instruction() -> None:
    trigger = parse_instruction("COPY <<A /x\nbody\nA")

    assert isinstance(trigger, ast.Copy)
    assert trigger.heredocs[0].content == "body\n"


@pytest.mark.parametrize("text", ["", "RUN a\nRUN b", "# a comment"])
def test_a_trigger_that_is_not_one_instruction_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_instruction(text)

    assert caught.value.code == "dockerfile/onbuild-trigger"


def test_the_text_of_a_trigger_can_be_read_again() -> None:
    for each in read("onbuild").instructions:
        if isinstance(each, ast.Onbuild):
            again = parse_instruction(each.trigger_text)
            assert instruction_record(again)["args"] == instruction_record(each.trigger)["args"]
            assert [h.content for h in again.heredocs] == [h.content for h in each.heredocs]


SOUP = st.lists(
    st.sampled_from(
        [
            *BUILDERS, "\n", "\n", " ", " ", "\t", "\\\n", "\\", "`", '"', "'", "#", "=", "--",
            "--a=", "<<EOF", "<<-'E'", "EOF", "[", "]", '["a"]', ",", "1", "$a", "as", "NONE",
            "# escape=`", "\r", "\xa0", "\ufeff", "é", "\udcff", "\x00", "\x1c", "\v",
        ]
    )
    | st.text(max_size=3),
    max_size=40,
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(SOUP)
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        dockerfile = parse(Source("f", text))
    except InputError as error:
        for each in getattr(error, "errors", [error]):
            assert each.at is None or 0 <= each.at.start <= each.at.end <= len(text)
        return
    for word in words(dockerfile.instructions):
        # A lone escape at the very end is dropped.
        if "\n" not in word.span.text:
            assert word.span.text in (word.text, word.text + dockerfile.escape)


PLAIN = st.text(string.ascii_letters + "=/.:$,-", min_size=1, max_size=6)
LINE = st.builds(
    lambda keyword, rest: f"{keyword} {' '.join(rest)}",
    st.sampled_from(["RUN", "COPY", "EXPOSE", "WORKDIR", "ARG", "HEALTHCHECK CMD", "ONBUILD USER"]),
    st.lists(PLAIN.filter(lambda word: word[0] not in "-="), min_size=2, max_size=6),
)


@settings(deadline=None, max_examples=200)
@given(LINE, st.data())
def test_a_line_means_the_same_wherever_it_is_continued(line: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(line) - 1), max_size=4)))
    pieces = [line[a:b] for a, b in zip([0, *cuts], [*cuts, len(line)], strict=True)]
    assume(all(piece.strip() for piece in pieces))
    whole = parse(Source("f", f"FROM a\n{line}\n")).instructions[1]

    dockerfile = parse(Source("f", "FROM a\n" + "\\\n# a comment\n\n".join(pieces) + "\n"))

    broken = dockerfile.instructions[1]
    assert broken.original == whole.original
    assert [word.text for word in words(broken)] == [word.text for word in words(whole)]
    for word in words(broken):
        assert word.span.text.replace("\\\n# a comment\n\n", "") == word.text


HOSTILE = {
    "a line of a hundred thousand continuations": ("RUN " + "a \\\n" * 100_000, 1),
    "continuations of nothing": ("RUN " + "\\\n" * 300_000, 1),
    "quotes without end": ("ENV A=" + "\"''\"''\\\n" * 700_000, 1),
    "arrays without end": ("RUN " + ("[" * 1000 + "\\\n") * 1000, 1),
    "a heredoc of five megabytes": ("RUN <<EOF\n" + "EO\n" * 1_700_000 + "EOF\n", 1),
    "thousands of heredocs": (
        "RUN " + " ".join(f"<<a{i}" for i in range(5000)) + "\n" + "".join(
            f"a{i}\n" for i in range(5000)
        ),
        1,
    ),
    "five megabytes of comments": ("# a\n" * 1_250_000 + "RUN a\n", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_read(name: str) -> None:
    """These take hours where anything is quadratic, and seconds otherwise."""
    text, count = HOSTILE[name]

    dockerfile = parse(Source("f", "FROM a\n" + text))

    assert len(dockerfile.instructions) == 1 + count


@pytest.mark.parametrize(
    "text",
    ["RUN a\n" * 900, "COPY " + "a \\\n" * 5000, "RUN " + "--a \\\n" * 5000, "X\n" * 3000],
    ids=["instructions", "words", "flags", "unknown"],
)
def test_more_words_than_can_be_kept_are_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("buildkit_py.dockerfile.parse.MOST_PIECES", 1000)

    with pytest.raises(InputError) as caught:
        parse(Source("f", "FROM a\n" + text))

    assert first_of(caught.value).code == "dockerfile/too-large"


def test_a_shell_form_is_one_word_however_long() -> None:
    text = "FROM a\nRUN --network=none echo \\\n" + "some more words \\\n" * 100_000

    run = parse(Source("f", text)).instructions[1]

    assert isinstance(run, ast.Run)
    assert isinstance(run.command, ast.ShellForm)
    assert run.command.text.text.count("more") == 100_000


def test_a_chain_of_triggers_is_refused() -> None:
    with pytest.raises(InputError, match="cannot trigger `ONBUILD`"):
        parse(Source("f", "FROM a\n" + "ONBUILD \\\n" * 50_000))


@pytest.mark.parametrize(
    "text",
    [
        "RUN " + "a" * 5_000_000,
        "RUN a \\\n" + "a" * 65_536,
        "ENV A=" + "é" * 40_000,
        "RUN <<E\n" + "a" * 70_000 + "\nE\n",
    ],
    ids=["first", "continued", "bytes", "heredoc"],
)
def test_a_line_longer_than_buildkit_reads_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(Source("f", "FROM a\n" + text))

    assert "dockerfile/line-too-long" in [
        each.code for each in getattr(caught.value, "errors", [caught.value])
    ]


def test_a_long_line_within_the_limit_is_read() -> None:
    dockerfile = parse(Source("f", "FROM a\nRUN " + "a" * (65_535 - 4) + "\n"))

    assert len(dockerfile.instructions[1].original) == 65_535
