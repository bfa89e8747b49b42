"""Whatever a Dockerfile holds, lowering gives a sound graph or an error with its place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.draw import draw
from buildkit_py.core.errors import InputError
from tests.dockerfile.lowering import lowered
from tests.dockerfile.test_lower import check_promises

WORDS = st.sampled_from(
    ["a", "/b", "$A", "${B:-c}", "${C?}", "'q'", '"$A"', "..", ".", "*", "[", "x/", "\\$", "80"]
)
STARTS = st.sampled_from(
    ["FROM x", "FROM scratch", "FROM a AS b", "FROM $A AS a", "FROM b", "FROM x AS A", "FROM ${D}"]
)
INSTRUCTIONS = st.one_of(
    st.builds("ARG A={}".format, WORDS),
    st.builds("ARG {} B".format, st.sampled_from(["A", "C", "C=1"])),
    st.builds("ENV A={} {}=2".format, WORDS, st.sampled_from(["B", "$A", "C"])),
    st.builds("COPY {} {} {}".format, WORDS, WORDS, WORDS),
    st.builds(
        "COPY --from={} {} {}".format, st.sampled_from(["a", "B", "0", "1", "9"]), WORDS, WORDS
    ),
    st.builds("COPY --parents --chown={} {} {}".format, WORDS, WORDS, WORDS),
    st.builds("COPY <<E {} {}\n{}\nE".format, WORDS, WORDS, WORDS),
    st.builds("ADD --chmod={} {} {}".format, WORDS, WORDS, WORDS),
    st.builds("RUN {}".format, WORDS),
    st.builds("RUN --mount=target={},from={} x".format, WORDS, st.sampled_from(["a", "b", "x"])),
    st.builds("RUN --mount=type=cache,target={},id={} x".format, WORDS, WORDS),
    st.builds("RUN <<E\n{}\nE".format, WORDS),
    st.builds("ONBUILD COPY --from={} {} /".format, st.sampled_from(["a", "0", "y"]), WORDS),
    st.builds("ONBUILD ENV A={}".format, WORDS),
    st.builds("WORKDIR {}".format, WORDS),
    st.builds("USER {}".format, WORDS),
    st.builds("EXPOSE {}".format, WORDS),
    st.builds("VOLUME {}".format, WORDS),
    st.builds("LABEL {}=1".format, WORDS),
    st.builds("STOPSIGNAL {}".format, WORDS),
    st.just('SHELL ["s", "-c"]'),
    st.just('CMD ["c"]'),
    st.just("ENTRYPOINT e"),
)
FILES = st.lists(st.tuples(STARTS, st.lists(INSTRUCTIONS, max_size=5)), min_size=1, max_size=4).map(
    lambda stages: "\n".join(
        line for start, body in [("ARG D=x", []), *stages] for line in (start, *body)
    )
)


@settings(max_examples=400, deadline=None)
@given(FILES, st.dictionaries(st.sampled_from(["A", "B", "D", "E"]), WORDS))
def test_a_file_becomes_a_sound_graph_or_an_error_with_its_place(
    text: str, build_args: dict[str, str]
) -> None:
    try:
        made = lowered(text, build_args=build_args)
    except InputError as error:
        drawn = draw(error)
        wrong = error
    else:
        check_promises(made)
        return
    assert all(each.at is not None for each in getattr(wrong, "errors", (wrong,)))
    assert " --> Dockerfile:" in drawn
