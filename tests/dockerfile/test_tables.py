"""The machine reads as Lark reads: the grammar alone decides, whoever runs its tables."""

from __future__ import annotations

import marshal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Token as LarkToken
from lark import Tree
from lark.exceptions import UnexpectedInput

from buildkit_py.core.digest import sha256
from buildkit_py.dockerfile import tables
from buildkit_py.dockerfile.grammar import grammar_path, read_lines
from buildkit_py.dockerfile.tables import ESCAPES, STARTS, Machine, Token, Unexpected
from tests.house.sources import TREE

GRAMMAR = Path(grammar_path()).read_text()
NAMES = {rule[0] for rule in tables.make(GRAMMAR)["tables"]["\\"]["rules"]}
WORDS = st.sampled_from(
    [
        "RUN", "copy", "ENV", "LABEL", "ONBUILD", "HEALTHCHECK", "CMD", "FROM", "ARG", "FOO",
        "NONE", "a", "a=b", "--x=y", "--", "''", '"a b"', "'", '"', "\\", "`", '["a", "b"]',
        "[", "]", ",",
        "<<EOF", "<<-'E F'", "3<<x", "<< x", "<<<", "é", "\u2028", "\x1c", "#", "$x", "\\\\",
    ]
)  # fmt: skip
LINES = st.lists(
    st.lists(st.one_of(WORDS, st.sampled_from([" ", "\t", "\u3000", ""]), st.text(max_size=3)))
    .map("".join)
    .filter(lambda line: "\n" not in line),
    max_size=4,
)  # fmt: skip


def tree(name: str) -> Callable[[list[Any]], Any]:
    return lambda children: (name, [_plain(each) for each in children])


def _plain(value: Any) -> Any:
    if isinstance(value, Token):
        return (value.type, str(value), value.start_pos, value.end_pos)
    return value


def of_lark(value: Any) -> Any:
    """Return a tree of Lark's in the same shape."""
    if isinstance(value, LarkToken):
        return (value.type, str(value), value.start_pos, value.end_pos)
    assert isinstance(value, Tree)
    return (str(value.data), [of_lark(each) for each in value.children])


MACHINES = {
    escape: Machine(
        tables.load(grammar_path())[escape],
        {name: tree(name) for name in NAMES if not name.startswith("_")},
    )
    for escape in ESCAPES
}
LARKS = {escape: tables.lark_of(GRAMMAR, escape) for escape in ESCAPES}


def both(escape: str, text: str, start: str) -> tuple[Any, Any]:
    """Return what the machine and what Lark makes of a text, None where it is refused."""
    try:
        ours = MACHINES[escape].parse(text, start)
    except Unexpected:
        ours = None
    try:
        theirs = of_lark(LARKS[escape].parse(text, start=start))
    except UnexpectedInput:
        theirs = None
    return ours, theirs


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ESCAPES), LINES, st.sampled_from(STARTS))
def test_any_text_is_read_as_lark_reads_it(escape: str, lines: list[str], start: str) -> None:
    text = "".join(f"{line}\n" for line in lines) if start == "dockerfile" else "".join(lines)
    ours, theirs = both(escape, text, start)

    assert ours == theirs
    assert ours is not None or start == "shell_words", "the grammar is total"


def test_real_files_are_read_as_lark_reads_them() -> None:
    found = sorted((TREE / "fixtures").rglob("*Dockerfile*")) + sorted(
        TREE.rglob("examples/*/*file")
    )
    assert len(found) > 20
    for path in found:
        if path.is_file():
            lines = path.read_text(errors="replace").split("\n")
            ours, theirs = both("\\", "".join(f"{line}\n" for line in lines), "dockerfile")
            assert ours == theirs, path
    assert read_lines([], "\\") == []


def copied(folder: Path) -> str:
    path = folder / "dockerfile.lark"
    path.write_text(GRAMMAR)
    return str(path)


def test_tables_that_were_kept_are_those_that_would_be_made(tmp_path: Path) -> None:
    path = copied(tmp_path)
    kept = tables.write(path)

    assert Path(kept).name == "dockerfile.tables"
    digest, _, data = Path(kept).read_bytes().partition(b"\n")
    assert digest.decode() == sha256(data)
    assert marshal.loads(data) == tables.make(GRAMMAR)
    assert tables.load(path) == tables.make(GRAMMAR)["tables"]


def with_digest(data: bytes) -> bytes:
    return sha256(data).encode() + b"\n" + data


@pytest.mark.parametrize(
    "damage", [b"", b"nonsense", with_digest(marshal.dumps({"format": 0})), with_digest(b"x"), None]
)
def test_what_was_kept_is_not_believed_blindly(tmp_path: Path, damage: bytes | None) -> None:
    path = copied(tmp_path)
    kept = Path(tables.write(path))
    if damage is None:  # the tables of another grammar
        Path(path).write_text(GRAMMAR + "\n// changed\n")
    else:
        kept.write_bytes(damage)

    assert tables.load(path) == tables.make(Path(path).read_text())["tables"]


def test_one_byte_that_changed_on_the_disk_is_seen(tmp_path: Path) -> None:
    path = copied(tmp_path)
    kept = Path(tables.write(path))
    data = kept.read_bytes()
    kept.write_bytes(data.replace(b"HEALTHCHECK", b"HEALTHCHICK", 1))
    assert kept.read_bytes() != data

    assert tables.load(path) == tables.make(GRAMMAR)["tables"]


def test_kept_tables_need_no_lark(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = copied(tmp_path)
    tables.write(path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from buildkit_py.dockerfile import grammar\n"
        "grammar.grammar_path = lambda: sys.argv[2]\n"
        "print(grammar.openings('RUN <<EOF', chr(92))[0].name, 'lark' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(TREE), path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "EOF False\n"
