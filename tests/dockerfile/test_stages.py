"""Stages: what they start from, what they reach, and what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.draw import draw
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source
from buildkit_py.dockerfile.parse import parse
from buildkit_py.dockerfile.stages import (
    Stages,
    check_circles,
    origins,
    reachable,
    read_stages,
)
from tests.dockerfile.lowering import complaint, lowered, warnings

THREE = """\
FROM debian AS build
RUN make
FROM build AS Test
RUN check
FROM scratch
COPY --from=build /a /
"""


def stages(text: str, **build_args: str) -> Stages:
    return read_stages(parse(Source("Dockerfile", text)), build_args, {"TARGETARCH": "amd64"})


def reached(text: str, target: str | None = None) -> list[str]:
    read = stages(text)
    taken = [
        [each for one in stage.body for each in origins(read, stage.index, one)]
        for stage in read.stages
    ]
    check_circles(read, taken)
    return [read[index].label for index in reachable(read, read.target(target), taken)]


def test_a_file_is_split_into_stages() -> None:
    read = stages(THREE)

    assert [(each.name, each.image, each.base, len(each.body)) for each in read.stages] == [
        ("build", "debian", None, 1),
        ("test", "build", 0, 1),
        (None, "scratch", None, 1),
    ]
    assert read[2].label == "stage-2"


def test_only_what_the_target_needs_is_reached() -> None:
    assert reached(THREE) == ["build", "stage-2"]
    assert reached(THREE, "test") == ["build", "test"]
    assert reached(THREE, "BUILD") == ["build"]


def test_mounts_reach_stages_too_but_not_those_that_read_nothing() -> None:
    text = """\
FROM x AS a
FROM x AS b
FROM x AS c
FROM x
RUN --mount=from=A,target=/a --mount=type=tmpfs,target=/t,from=b make
"""

    assert reached(text) == ["a", "stage-3"]


def test_of_two_stages_with_one_name_the_nearest_above_counts() -> None:
    text = "FROM x AS a\nFROM a AS a\nFROM a\nCOPY --from=a / /"

    assert [each.base for each in stages(text).stages] == [None, 0, 1]
    assert stages(text).named("A", 2) == 1
    assert stages(text).named("a", 1) == 0
    assert stages(text).named("a", 0) == 1
    assert stages(text).named("b", 2) is None


def test_a_stage_may_be_named_by_its_number() -> None:
    text = "FROM x\nRUN a\nFROM y\nCOPY --from=0 / /"

    assert reached(text) == ["stage-0", "stage-1"]


def test_an_image_is_taken_where_no_stage_has_the_name() -> None:
    read = stages("FROM x\nCOPY --from=nginx:1 /a /b")

    (origin,) = origins(read, 0, read[0].body[0])

    assert (origin.stage, origin.image) == (None, "nginx:1")


def test_global_arguments_are_expanded_in_order() -> None:
    text = "ARG A=1\nARG B=$A-${TARGETARCH} C\nFROM img:$B"

    assert stages(text)[0].image == "img:1-amd64"
    assert stages(text, A="2")[0].image == "img:2-amd64"
    assert stages(text, TARGETARCH="x")[0].image == "img:1-x"


def test_an_argument_of_a_stage_does_not_reach_from() -> None:
    drawn = complaint("FROM x\nARG V=1\nFROM $V")

    assert (
        drawn
        == """\
error[dockerfile/bad-stage]: the base name `$V` is blank
 --> Dockerfile:3:6
  |
3 | FROM $V
  |      ^^ expands to nothing

hint: declare `ARG V` before the first FROM"""
    )


def test_an_undefined_argument_in_from_is_warned_of() -> None:
    drawn = warnings("ARG VERSION=1\nARG OTHER\nFROM x$VERZIN$OTHER")

    assert (
        drawn
        == """\
warning[dockerfile/undefined-variable]: the variable `VERZIN` is not defined
 --> Dockerfile:3:7
  |
3 | FROM x$VERZIN$OTHER
  |       ^^^^^^^ expands to nothing

hint: did you mean `VERSION`?"""
    )


def test_a_target_that_is_not_there_is_corrected() -> None:
    assert (
        complaint(THREE, target="buildz")
        == """\
error[dockerfile/unknown-target]: target stage `buildz` could not be found
 --> --target:1:1
  |
1 | buildz
  | ^^^^^^ no stage has this name

hint: did you mean `build`?"""
    )


@pytest.mark.parametrize(
    ("text", "target", "hint"),
    [
        (THREE, "0", "the stages are `build`, `test`"),
        (THREE, "zzz", "the stages are `build`, `test`"),
        ("FROM x", "0", "no stage has a name: give it one with `FROM … AS name`"),
    ],
)
def test_a_target_is_never_a_number(text: str, target: str, hint: str) -> None:
    with pytest.raises(InputError, match="could not be found") as caught:
        stages(text).target(target)

    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "FROM x AS a\nCOPY --from=a / /",
            """\
error[dockerfile/bad-from]: circular dependency detected on stage: `a`
 --> Dockerfile:2:6
  |
2 | COPY --from=a / /
  |      ^^^^^^^^ a needs a""",
        ),
        (
            "FROM x AS a\nCOPY --from=b / /\nFROM x AS b\nRUN --mount=from=a,target=/m b",
            """\
error[dockerfile/bad-from]: circular dependency detected on stage: `a`
 --> Dockerfile:4:5
  |
4 | RUN --mount=from=a,target=/m b
  |     ^^^^^^^^^^^^^^^^^^^^^^^^ a needs b needs a""",
        ),
        (
            "FROM x\nCOPY --from=5 / /",
            """\
error[dockerfile/bad-from]: invalid stage index `5`
 --> Dockerfile:2:6
  |
2 | COPY --from=5 / /
  |      ^^^^^^^^ there is no such stage

hint: stages are numbered from 0 to 0; a name is safer""",
        ),
        (
            "ARG S=a\nFROM x AS a\nFROM y\nCOPY --from=$S / /",
            """\
error[dockerfile/bad-from]: variable expansion is not supported for `--from`
 --> Dockerfile:4:6
  |
4 | COPY --from=$S / /
  |      ^^^^^^^^^

hint: define a stage for it: `FROM $IMAGE AS name` with a global ARG""",
        ),
        (
            "FROM x AS build\nFROM Build",
            """\
error[dockerfile/bad-stage]: there is no stage `Build`
 --> Dockerfile:2:6
  |
2 | FROM Build
  |      ^^^^^ stage names are in lower case here

hint: did you mean `build`?""",
        ),
        (
            "FROM x\nRUN --mount=from=0,target=/a b",
            """\
error[dockerfile/bad-from]: `from=0` of a mount is no stage
 --> Dockerfile:2:5
  |
2 | RUN --mount=from=0,target=/a b
  |     ^^^^^^^^^^^^^^^^^^^^^^^^

hint: a mount takes a stage's name, not its number: write `FROM … AS name`""",
        ),
        (
            "FROM --platform=linux/ x",
            """\
error[dockerfile/bad-stage]: invalid platform `linux/`
 --> Dockerfile:1:6
  |
1 | FROM --platform=linux/ x
  |      ^^^^^^^^^^^^^^^^^

hint: write it as `linux/amd64` or `linux/arm64/v8`""",
        ),
        (
            "FROM --platform=$NOWHERE x",
            """\
error[dockerfile/bad-stage]: the platform `$NOWHERE` is blank
 --> Dockerfile:1:6
  |
1 | FROM --platform=$NOWHERE x
  |      ^^^^^^^^^^^^^^^^^^^ expands to nothing

hint: declare `ARG NOWHERE` before the first FROM""",
        ),
        (
            "FROM Upper/Case",
            """\
error[oci/bad-reference]: invalid image reference `Upper/Case`: a repository name must be lower case
 --> Dockerfile:1:6
  |
1 | FROM Upper/Case
  |      ^^^^^^^^^^""",
        ),
    ],
)
def test_a_wrong_stage_is_shown_whole(text: str, expected: str) -> None:
    assert complaint(text) == expected


def test_a_wrong_number_counts_in_unreachable_stages_too() -> None:
    assert "invalid stage index `9`" in complaint("FROM x AS a\nCOPY --from=9 / /\nFROM y")


def test_a_later_stage_may_be_named_where_it_is_not_built() -> None:
    assert lowered("FROM x AS a\nCOPY --from=b / /\nFROM y AS b").base is not None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5), max_size=3), min_size=1, max_size=6))
def test_circles_are_found_exactly_where_there_are_some(needs: list[set[int]]) -> None:
    needs = [{each for each in some if each < len(needs)} for some in needs]
    text = "".join(
        f"FROM x AS s{index}\n" + "".join(f"COPY --from={each} / /\n" for each in sorted(some))
        for index, some in enumerate(needs)
    )
    order: set[int] = set()
    while fresh := {i for i, some in enumerate(needs) if i not in order and some <= order}:
        order |= fresh

    if len(order) == len(needs):
        reached(text)
    else:
        with pytest.raises(InputError, match="circular"):
            reached(text)


def test_thousands_of_stages_are_no_burden() -> None:
    text = "FROM x AS s0\n" + "".join(
        f"FROM s{n} AS s{n + 1}\nCOPY --from=s{n} / /\n" for n in range(2000)
    )

    made = lowered(text)

    assert len(made.layers) == 2000


def test_an_error_without_a_parser_is_still_one() -> None:
    file = parse(Source("Dockerfile", "FROM x\nRUN y"))
    headless = type(file)(file.source, file.escape, file.directives, file.instructions[1:])
    nothing = type(file)(file.source, file.escape, file.directives, ())

    for broken, code in ((headless, "dockerfile/before-from"), (nothing, "dockerfile/no-stage")):
        with pytest.raises(InputError) as caught:
            read_stages(broken, {}, {})
        assert draw(caught.value).startswith(f"error[{code}]")
