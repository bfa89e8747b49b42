"""Environment files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose.dotenv import parse, parse_raw
from buildkit_py.compose.errors import BadEnvFile, BadVariable, ComposeError, MissingVariable
from buildkit_py.core.source import Source

AROUND = {"HOST": "h", "A": "around"}


def read(text: str, warnings: list[str] | None = None) -> dict[str, str]:
    values: dict[str, str] = {}
    warn = (warnings if warnings is not None else []).append
    parse(Source(".env", text), AROUND.get, values, warn)
    return values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1", {"A": "1"}),
        ("A = 1\n\n# c\nB: 2\nexport C=3", {"A": "1", "B": "2", "C": "3"}),
        ("A=1#c\nB=1 # c\nC=# c", {"A": "1#c", "B": "1", "C": "# c"}),
        ("A=\nB=''", {"A": "", "B": ""}),
        ("A='x $HOST\ny'", {"A": "x $HOST\ny"}),
        ("A='it\\'s'", {"A": "it's"}),
        ('A="x\\n\\t\\"q\\" \\\\ \\$HOST \\x41 \\0101"', {"A": 'x\n\t"q" \\ $HOST \\x41 A'}),
        ('A="x\ny"', {"A": "x\ny"}),
        ("A=$HOST-${NO:-d}-$$X", {"A": "h-d-$X"}),
        ("X=1\nY=$X$A", {"X": "1", "Y": "1around"}),
        ("HOST\nNOT_THERE\nB=1", {"HOST": "h", "B": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("\ufeffA=1\r\nB='2'\r\n", {"A": "1", "B": "2"}),
        ('A="x"y\nB=1', {"A": "x", "B": "1"}),
        ("1A=x\na.b-c[0]=y\né=z", {"1A": "x", "a.b-c[0]": "y", "é": "z"}),
        ("=1", {"": "1"}),
    ],
)
def test_grammar(text: str, values: dict[str, str]) -> None:
    assert read(text) == values


@pytest.mark.parametrize(
    ("text", "kind", "message", "place"),
    [
        ("A=1\nB!=1", BadEnvFile, "line 2: unexpected character `!`", ".env:2:2"),
        ("A B=1", BadEnvFile, "line 1: a key cannot contain a space", ".env:1:1"),
        ("\n\nA='x\ny", BadEnvFile, "line 3: unterminated quoted value", ".env:3:3"),
        (
            "A=${B?why}",
            MissingVariable,
            "required variable `B` is missing a value: why",
            ".env:1:3",
        ),
        ("A=x ${!B}", BadVariable, "invalid interpolation format", ".env:1:5"),
    ],
)
def test_complaints(text: str, kind: type[ComposeError], message: str, place: str) -> None:
    with pytest.raises(kind) as caught:
        read(text)

    assert caught.value.message.startswith(message)
    assert caught.value.at is not None
    assert caught.value.at.place == place


def test_unset_variables_are_told() -> None:
    warnings: list[str] = []

    assert read("A=pa$word", warnings) == {"A": "pa"}
    assert warnings == ["the `word` variable is not set, defaulting to a blank string"]


def test_the_raw_format_takes_values_as_they_are() -> None:
    values: dict[str, str] = {}

    parse_raw(Source("e", "  A='x' $HOST # c \n#B=1\nHOST\nNO\nC=\n"), AROUND.get, values)

    assert values == {"A": "'x' $HOST # c ", "HOST": "h", "C": ""}
    with pytest.raises(BadEnvFile, match="is no name of a variable"):
        parse_raw(Source("e", "A B=1"), AROUND.get, values)


def outcome(text: str) -> dict[str, str] | str:
    """Return the variables of a file, or where the fault in it is."""
    try:
        return read(text)
    except ComposeError as error:
        return error.at.place if error.at else ""


@given(st.text("AB=:#'\"\\$ \n\te{}0-", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    found = outcome(text)

    assert isinstance(found, dict) or found.startswith(".env:")


@given(st.dictionaries(st.text("ABC_", min_size=1), st.text('ab =#$"\\\n', max_size=8)))
def test_single_quotes_hold_anything_but_themselves(values: dict[str, str]) -> None:
    text = "".join(f"{key}='{value}'\n" for key, value in values.items() if "\\" not in value)

    assert read(text) == {key: value for key, value in values.items() if "\\" not in value}
