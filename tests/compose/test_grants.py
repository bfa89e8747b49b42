"""What secrets and configs hold, and how a change of it is seen."""

from __future__ import annotations

import os
from pathlib import Path

from buildkit_py.compose import grants, model
from buildkit_py.compose.typed import typed
from tests.compose.conftest import loaded

TEXT = """\
services:
  s: {image: b, secrets: [pw, token], configs: [conf]}
  bare: {image: b}
secrets:
  pw: {file: %s}
  token: {environment: TOKEN}
  unused: {file: /nowhere}
configs: {conf: {content: "a\\n"}}
"""


def project(folder: Path) -> model.Project:
    return typed(loaded(TEXT % (folder / "pw"), environment={"TOKEN": "t"}))


def test_all_that_services_use_is_read(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes(b"\xffhush\n")

    contents, errors = grants.read(project(tmp_path))

    assert errors == []
    assert contents == {
        ("secrets", "pw"): b"\xffhush\n",
        ("secrets", "token"): b"t",
        ("configs", "conf"): b"a\n",
    }


def test_a_missing_or_large_file_is_told_at_its_place(tmp_path: Path) -> None:
    _, (missing,) = grants.read(project(tmp_path))
    (tmp_path / "pw").write_bytes(b"x" * ((1 << 20) + 1))
    _, (large,) = grants.read(project(tmp_path))

    assert missing.message == f"cannot read `{tmp_path / 'pw'}`: no such file or directory"
    assert large.message == f"`{tmp_path / 'pw'}` has more than 1 MiB"
    assert missing.at is not None
    assert missing.at.line == 5


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pw")
    _, (fifo,) = grants.read(project(tmp_path))
    os.unlink(tmp_path / "pw")
    os.symlink("/dev/zero", tmp_path / "pw")
    _, (device,) = grants.read(project(tmp_path))

    assert fifo.message == device.message == f"`{tmp_path / 'pw'}` is not a regular file"


def test_a_change_is_seen_and_nothing_is_given_away(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hush")
    made = project(tmp_path)
    service = made.services["s"]
    contents, _ = grants.read(made)

    label = grants.digest(service, contents)

    assert grants.is_same(service, contents, label)
    assert not grants.is_same(service, {**contents, ("secrets", "pw"): b"other"}, label)
    assert not grants.is_same(service, {**contents, ("configs", "conf"): b""}, label)
    assert not grants.is_same(service, contents, "")
    assert grants.digest(service, contents) != label, "two containers have two salts"
    assert "hush" not in label


def test_a_service_without_files_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hush")
    made = project(tmp_path)
    contents, _ = grants.read(made)

    assert grants.digest(made.services["bare"], contents) == ""
    assert grants.is_same(made.services["bare"], contents, "")
    assert not grants.is_same(made.services["bare"], contents, "salt:digest"), "it had files once"
