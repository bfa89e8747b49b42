"""A user without subordinate ids: builds work, with a notice of what cannot be."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.runtime.userns import first_free_id
from tests.rootless import RootlessUser, interpreter
from tests.stories.compose import lasting, project
from tests.stories.conftest import Person

pytestmark = [pytest.mark.root, pytest.mark.rootless, pytest.mark.slow]

ACCOUNT = "bkpysingle"


@pytest.fixture(scope="module")
def account() -> Iterator[RootlessUser]:
    """An account of this test's own, which gets no subordinate ids."""
    subprocess.run(
        ["useradd", "--no-create-home", "--shell", "/bin/sh", "-K", "SUB_UID_COUNT=0"]
        + ["-K", "SUB_GID_COUNT=0", ACCOUNT],
        check=True,
        capture_output=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="buildkit-py-test-", dir="/var/tmp"))
    try:
        for table in ("/etc/subuid", "/etc/subgid"):
            assert f"{ACCOUNT}:" not in Path(table).read_text()
        entry = pwd.getpwnam(ACCOUNT)
        folder.chmod(0o755)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        for each in ("home", "run", "tmp"):
            (folder / each).mkdir(mode=0o700)
            os.chown(folder / each, entry.pw_uid, entry.pw_gid)
        account = RootlessUser(ACCOUNT, entry.pw_uid, entry.pw_gid, interpreter(), folder)
        Person(folder / "root", account=account).give("busybox")
        yield account
    finally:
        shutil.rmtree(folder)
        subprocess.run(["userdel", ACCOUNT], check=True, capture_output=True)


@pytest.fixture
def single(account: RootlessUser) -> Iterator[Person]:
    folder = Path(tempfile.mkdtemp(dir=account.folder))
    folder.chmod(0o755)
    os.chown(folder, account.uid, account.gid)
    yield Person(account.folder / "root", account=account, folder=folder)
    shutil.rmtree(folder)


def test_a_build_works_and_says_what_cannot_be(single: Person) -> None:
    made = single.build('FROM busybox\nRUN echo id=$(id -u):$(id -g) && touch /made\nCMD ["sh"]\n')

    assert made.done.said("id") == "0:0"
    assert set(made.new[0].entries) == {"made"}
    assert (
        f"`{ACCOUNT}` has no subordinate ids; files can belong to `root` only" in made.done.stderr
    )
    first = first_free_id("/etc/subuid", "/etc/subgid")
    ids = f"{first}-{first + 65535}"
    assert f"usermod --add-subuids {ids} --add-subgids {ids} {ACCOUNT}" in made.done.stderr


def test_owners_of_copied_files_are_in_the_layer(single: Person) -> None:
    made = single.build(
        "FROM busybox AS b\n"
        "COPY --chown=5:6 f /owned/f\n"
        "FROM busybox\n"
        "COPY --from=b /owned /from\n"
        "COPY f /plain\n"
        "RUN echo seen=$(stat -c %u:%g /from/f) && echo more >> /from/f\n",
        {"f": "f"},
    )

    copied, plain, changed = made.new
    assert copied.owners()["from/f"] == (5, 6)
    assert plain.owners() == {"plain": (0, 0)}
    assert made.done.said("seen") == "0:0"
    assert changed.text("from/f") == "fmore\n"
    assert changed.owners()["from/f"] == (5, 6)


def test_a_base_with_other_owners(single: Person) -> None:
    """Its files belong to us in RUN; its own layer keeps what it says."""
    tar = single.folder / "base.tar"
    with tarfile.open(tar, "w") as archive:
        with tarfile.open("/var/cache/buildkit-py/bases/busybox.tar") as busybox:
            for member in busybox:
                archive.addfile(member, busybox.extractfile(member) if member.isreg() else None)
        member = tarfile.TarInfo("theirs")
        member.uid, member.gid = 33, 44
        archive.addfile(member)
    tar.chmod(0o644)
    python = single.arguments()[0]
    words = ["--root", str(single.root), "import", str(tar), "mixed"]
    single.run([python, "-m", "buildkit_py.cli.pyengine", *words])

    made = single.build(
        "FROM mixed\nRUN echo seen=$(stat -c %u:%g /theirs) && echo x > /new\n"
        "FROM scratch\nCOPY --from=mixed /theirs /theirs\n"
    )
    ran = single.build("FROM mixed\nRUN echo seen=$(stat -c %u:%g /theirs) && echo x > /new\n")

    assert ran.done.said("seen") == "0:0"
    assert set(ran.new[0].entries) == {"new"}
    assert made.new[0].owners() == {"theirs": (33, 44)}


def test_another_user_is_refused_clearly(single: Person) -> None:
    context = single.context("FROM busybox\nUSER 1234\nRUN true\n")

    done = single.pybuild("--no-cache", context, code=None)

    assert done.code in (2, 3)
    assert "1234" in done.error
    assert "subordinate ids" in done.stderr


def test_a_step_that_fails_for_want_of_ids_says_so(single: Person) -> None:
    context = single.context("FROM busybox\nRUN touch /x && chown 5:6 /x\n")

    done = single.pybuild("--no-cache", context, code=1)

    assert "chown: /x: Invalid argument" in done.stderr
    assert "has no subordinate ids" in done.stderr.partition("hint: ")[2]


def test_services_run_and_up_says_what_cannot_be(single: Person) -> None:
    text = lasting('services: {a: &it {image: busybox, command: [sh, -c, "STAYS"]}, b: *it}')
    with project(single, text) as app:
        said = app("up", "-d").stderr
        states = app.states()

    assert states == {"a-1": "running", "b-1": "running"}
    assert said.count("has no subordinate ids; files can belong to `root` only") == 1


def test_the_same_layers_as_for_others(single: Person) -> None:
    """The image does not tell which user built it."""
    dockerfile = "FROM busybox\nCOPY --chown=3:4 --chmod=0640 f /d/f\nUSER 5\nWORKDIR /w/x\n"
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    context = single.context(dockerfile, {"f": "f"})
    first = single.image(single.pybuild("--no-cache", context, env=epoch))
    root = Person(single.folder / "other", folder=single.folder)
    root.give("busybox")

    second = root.image(root.pybuild("--no-cache", context, env=epoch))

    assert first.done.image == second.done.image
    shutil.rmtree(root.root)


def test_subordinate_ids_that_come_later_are_used_at_once(single: Person) -> None:
    """What was made without them has other owners on disk: neither it nor the answer is reused."""
    context = single.context(
        "FROM busybox\nCOPY --chown=5:6 f /f\nRUN echo owner=$(stat -c %u:%g /f)\n", {"f": "f"}
    )
    first = first_free_id("/etc/subuid", "/etc/subgid")
    ids = f"{first}-{first + 65535}"

    before = single.pybuild(context)
    single.pybuild(context)
    subprocess.run(["usermod", "--add-subuids", ids, "--add-subgids", ids, ACCOUNT], check=True)
    try:
        after = single.pybuild(context)
        again = single.pybuild(context)
    finally:
        subprocess.run(["usermod", "--del-subuids", ids, "--del-subgids", ids, ACCOUNT], check=True)

    assert before.said("owner") == "0:0"
    assert after.said("owner") == "5:6"
    assert "#3 CACHED" in again.stderr
