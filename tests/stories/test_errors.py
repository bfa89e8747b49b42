"""Errors as people meet them: the whole text, and the exit code."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Golden
from tests.stories.conftest import Done, Person

GOLDEN = Path(__file__).parent / "golden/errors"


@dataclass(frozen=True)
class Case:
    code: int
    dockerfile: str
    files: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()


CASES = {
    "unknown-instruction": Case(2, "FROM busybox\nRUM echo hi\n"),
    "bad-flag": Case(2, "FROM busybox\nCOPY --form=0 a b\n"),
    "bad-mount": Case(2, "FROM busybox\nRUN --mount=type=bind,tarjet=/x true\n"),
    "missing-source": Case(
        2, "FROM busybox\nCOPY requirments.txt \\\n  /app/\n", {"requirements.txt": "flask"}
    ),
    "missing-in-stage": Case(
        2, "FROM busybox AS b\nRUN touch /made\nFROM busybox\nCOPY --from=b /maid /\n"
    ),
    "unknown-stage": Case(2, "FROM busybox AS build\nFROM busybox\nCOPY --from=9 /x /\n"),
    "later-stage": Case(2, "FROM busybox AS a\nCOPY --from=b /x /\nFROM busybox AS b\nFROM a\n"),
    "unknown-target": Case(2, "FROM busybox AS build\n", options=("--target", "biuld")),
    "failing-run": Case(
        1,
        "FROM busybox\nRUN for i in $(seq 30); do echo line $i; done; \\\n    exit 7\nRUN true\n",
    ),
    "missing-program": Case(1, 'FROM busybox\nRUN ["/no/such/program"]\n'),
    "killed-program": Case(1, "FROM busybox\nRUN echo going; sh -c 'kill -9 $$'; exit $?\n"),
    "unknown-user": Case(2, "FROM busybox\nUSER nosuch\nRUN true\n"),
    "several": Case(2, "FROM busybox\nRUM one\nCOPY\nEXPOSE 70000\nWORKDIR\n"),
    "empty": Case(2, ""),
    "only-comments": Case(2, "# nothing\n"),
    "before-from": Case(2, "RUN true\nFROM busybox\n"),
    "unterminated-heredoc": Case(2, "FROM busybox\nRUN <<END\ntrue\n"),
    "bad-reference": Case(2, "FROM Busybox:\n"),
    "bad-ignore-file": Case(2, "FROM busybox\nCOPY . /\n", {".dockerignore": "ok\n!\n"}),
    "bad-chmod": Case(2, "FROM busybox\nCOPY --chmod=9 Dockerfile /\n"),
    "strict-chown": Case(
        2, "FROM busybox\nCOPY --chown=nosuch Dockerfile /\n", options=("--strict",)
    ),
    "strict-variable": Case(2, "FROM busybox\nENV A=$NOSUCH\n", options=("--strict",)),
    "directory-onto-file": Case(2, "FROM busybox\nRUN echo > /file\nCOPY d /file\n", {"d/x": "x"}),
}


@pytest.mark.parametrize("name", CASES)
def test_errors_of_a_dockerfile(anyone: Person, golden: Golden, name: str) -> None:
    case = CASES[name]
    context = anyone.context(case.dockerfile, case.files)

    done = anyone.pybuild("--no-cache", *case.options, context, code=case.code)

    golden(GOLDEN / f"{name}.txt", done.error)


OPTIONS = {
    "unknown-option": ("--tgt", "x", "."),
    "unsupported-option": ("--secret", "id=x", "."),
    "missing-value": (".", "-t"),
    "bad-number": ("--jobs=many", "."),
    "bad-progress": ("--progress=fast", "."),
    "no-context": (),
    "two-contexts": (".", "."),
    "bad-tag": ("-t", "UPPER", "."),
    "tag-with-digest": ("-t", f"a@sha256:{'0' * 64}", "."),
    "bad-build-arg": ("--build-arg", "=x", "."),
    "bad-size": ("--shm-size", "lots", "."),
    "bad-ulimit": ("--ulimit", "nofile=2:1", "."),
    "bad-host": ("--add-host", "there", "."),
    "bad-network": ("--network", "mine", "."),
    "bad-platform": ("--platform", "linux/never", "."),
    "bad-output": ("-o", "type=oci", "."),
    "unsupported-output": ("-o", "out", "."),
    "bad-epoch": ("--build-arg", "SOURCE_DATE_EPOCH=today", "."),
    "git-context": ("https://example.org/x.git",),
    "later-command": ("bake",),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_errors_of_options(anyone: Person, golden: Golden, name: str) -> None:
    context = anyone.context("FROM busybox\n")

    done = anyone.pybuild(*OPTIONS[name], cwd=context, code=2)

    golden(GOLDEN / f"option-{name}.txt", done.error)


def shown(person: Person, done: Done) -> str:
    """The errors with the folder of this test taken out."""
    return done.error.replace(str(person.folder), "[FOLDER]")


def test_no_dockerfile(anyone: Person, golden: Golden) -> None:
    context = anyone.context("")
    (context / "Dockerfile").unlink()

    done = anyone.pybuild(context, code=2)
    named = anyone.pybuild("-f", "Dockerfile.dev", context, cwd=context, code=2)
    nowhere = anyone.pybuild(context / "nowhere", code=2)
    file = anyone.pybuild(anyone.context("FROM busybox\n") / "Dockerfile", code=2)

    texts = [shown(anyone, each) for each in (done, named, nowhere, file)]
    golden(GOLDEN / "no-dockerfile.txt", "\n".join(texts))


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_a_fifo_is_not_waited_for(anyone: Person, name: str) -> None:
    context = anyone.context("FROM busybox\n")
    (context / name).unlink(missing_ok=True)
    os.mkfifo(context / name)

    done = anyone.pybuild(context, code=2, timeout_seconds=20)

    assert f"`{name}` is not a regular file" in done.error


def test_a_dockerfile_that_links_out_of_the_context(anyone: Person, golden: Golden) -> None:
    outside = anyone.context("FROM busybox\n", name="outside")
    context = anyone.context("")
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to(outside / "Dockerfile")

    done = anyone.pybuild(context, code=2)

    golden(GOLDEN / "link-out-of-the-context.txt", shown(anyone, done))
    # Named outright, a Dockerfile may be anywhere.
    anyone.pybuild("-f", outside / "Dockerfile", context)


def test_links_in_the_context_lead_nowhere_else(anyone: Person) -> None:
    """A link as a source is resolved as if the context were the whole file system."""
    context = anyone.context(
        "FROM busybox\nCOPY up/etc/hostname /taken\n", {"etc/hostname": "of the context"}
    )
    (context / "up").symlink_to("../../../../../..")

    done = anyone.pybuild("--no-cache", context)

    assert anyone.image(done).new[0].text("taken") == "of the context"


@pytest.mark.rootless
def test_an_unreadable_file_is_named(user: Person, golden: Golden) -> None:
    files = {"d/open": "o", "d/closed": "c", "other": "x"}
    context = user.context("FROM busybox\nCOPY d /d\n", files)
    (context / "d/closed").chmod(0)

    done = user.pybuild("--no-cache", context, code=None)

    assert done.code in (2, 3)
    golden(GOLDEN / "unreadable-file.txt", shown(user, done))
    # One that nothing reads is none of our business.
    (context / "d/closed").chmod(0o644)
    (context / "other").chmod(0)
    user.pybuild("--no-cache", context)


@pytest.mark.rootless
def test_an_unreadable_dockerfile_is_not_an_empty_one(user: Person) -> None:
    context = user.context("FROM busybox\n")
    (context / "Dockerfile").chmod(0)

    done = user.pybuild(context, code=2)

    assert "cannot read `Dockerfile`: Permission denied" in done.error


def test_a_registry_that_cannot_be_reached(anyone: Person, golden: Golden) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = anyone.context(f"FROM busybox AS build\nFROM 127.0.0.1:{port}/team/thing:1\n")

    done = anyone.pybuild(context, code=4)

    text = shown(anyone, done).replace(str(port), "[PORT]".ljust(len(str(port)), "."))
    golden(GOLDEN / "registry-unreachable.txt", text)


def test_an_error_in_place_of_a_full_disk(anyone: Person) -> None:
    """What cannot be written is said; the image was built and is in the store all the same."""
    context = anyone.context("FROM busybox\nLABEL cannot=write\n")

    done = anyone.pybuild("-t", "written", "--iidfile", "/proc/none/iid", context, code=3)

    assert "cannot write `/proc/none/iid`" in done.error
    assert "docker.io/library/written:latest" in anyone.names()


def test_a_failed_build_names_nothing_and_a_mended_one_goes_on(anyone: Person) -> None:
    broken = f"FROM busybox\nRUN echo ran once: {anyone.folder.name}\nRUN exit 3\n"
    context = anyone.context(broken)

    anyone.pybuild("-t", "broken", context, code=1)
    assert "docker.io/library/broken:latest" not in anyone.names()
    mended = anyone.pybuild("-t", "broken", anyone.context(broken.replace("exit 3", "true")))

    assert mended.output == []
    assert "docker.io/library/broken:latest" in anyone.names()


def test_output_that_nobody_reads(anyone: Person) -> None:
    """A closed pipe ends the program quietly, as it does others."""
    context = anyone.context("FROM busybox\nRUN seq 100000\n")
    command = anyone.arguments("--no-cache", context)
    read, write = os.pipe()
    os.close(read)

    with subprocess.Popen(
        anyone.command(command),
        env=anyone.whole_environment(),
        cwd=anyone.account.home if anyone.account else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=write,
    ) as build:
        os.close(write)
        out, _ = build.communicate(timeout=60)

    assert (build.returncode, out) == (141, b"")
