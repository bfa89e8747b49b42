"""Remembered results and digests of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.core.errors import HostError, StateError
from buildkit_py.store.memory import Database


def test_the_first_living_result_stands(tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as database:
        database.remember(["a"], ("i1", "s1", ""), replace=False, alive=lambda s: True)

        kept = database.remember(["a", "b"], ("i2", "s2", ""), replace=False, alive=lambda s: True)

        assert kept == database.find("a") == database.find("b") == ("i1", "s1", "")


def test_a_result_whose_snapshot_is_gone_gives_way(tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as database:
        database.remember(["a"], ("i1", "s1", ""), replace=False, alive=lambda s: True)

        database.remember(["a"], ("i2", "s2", ""), replace=False, alive=lambda s: s != "s1")

        assert database.find("a") == ("i2", "s2", "")


def test_forgetting_a_snapshot_forgets_its_results_and_contents(tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as database:
        database.remember(["a"], ("i", "s", ""), replace=False, alive=lambda s: True)
        database.keep_content("s", "/x", "sha256:1")

        database.forget(["s"])

        assert (database.find("a"), database.find_content("s", "/x")) == (None, None)


def test_warnings_are_kept_with_their_snapshot(tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as database:
        database.keep_warnings("s", [("x/a", "one", None), ("x/b", "two", "do it")])

        assert database.find_warnings("s") == [("x/a", "one", None), ("x/b", "two", "do it")]
        database.forget(["s"])
        assert database.find_warnings("s") == []


def test_a_file_of_an_older_release_gets_the_tables_it_lacks(tmp_path: Path) -> None:
    path = str(tmp_path / "m.db")
    with Database(path) as database:
        database.connection.execute("DROP TABLE warnings")
        database.connection.execute("PRAGMA user_version = 1")

    with Database(path) as database:
        assert database.find_warnings("s") == []


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    path.write_bytes(b"this is no database, " * 1000)

    with Database(str(path)) as database:
        assert database.find("a") is None

    assert (tmp_path / "m.db.damaged").exists()


def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "m.db")
    with Database(path) as database:
        database.connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StateError, match="newer"):
        Database(path)


def test_two_processes_share_it(tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as one, Database(str(tmp_path / "m.db")) as two:
        one.keep_files([(b"stat", b"digest")])

        assert two.find_file(b"stat") == b"digest"


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "memory.db").mkdir()

    with pytest.raises(HostError, match=r"memory\.db` cannot be used") as raised:
        Database(str(tmp_path / "memory.db"))

    assert raised.value.code == "store/memory-unusable"


def test_damage_that_shows_later_is_told_as_that(tmp_path: Path) -> None:
    with Database(str(tmp_path / "memory.db")) as database:
        database.connection.execute("DROP TABLE results")

        with pytest.raises(StateError, match="is damaged"):
            database.find("key")


def test_many_processes_make_it_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from buildkit_py.store.memory import Database\n"
        "sys.stdin.readline(); Database(sys.argv[1]).close()"
    )
    tree = str(Path(__file__).resolve().parents[2])
    for number in range(5):
        command = [sys.executable, "-c", script, str(tmp_path / f"{number}.db")]
        all_of_them = [
            subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": tree})
            for _ in range(6)
        ]
        for each in all_of_them:
            assert each.stdin is not None
            each.stdin.write(b"go\n")
            each.stdin.close()

        assert [each.wait(60) for each in all_of_them] == [0] * 6
