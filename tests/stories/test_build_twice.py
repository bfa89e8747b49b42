"""The second build: answered at once when nothing changed, and never when something did."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stories.conftest import Person

pytestmark = pytest.mark.root

RUN = "RUN echo hello $WHO > /hello"
SRC = "COPY src /src"
CONF = "COPY *.conf /etc/"


def settle(context: Path) -> None:
    """Wait until the files are old enough for a record to be kept."""
    newest = max(path.lstat().st_ctime_ns for path in [context, *context.rglob("*")])
    while time.time_ns() - newest < 200_000_000:
        time.sleep(0.01)


@pytest.fixture
def built(person: Person, context: Path) -> str:
    """The context built, and its record kept: the next build is a no-op."""
    settle(context)
    image = person.pybuild("-t", "twice", context).image
    assert is_recalled(person, context)
    return image


def is_recalled(person: Person, context: Path, *options: str) -> bool:
    """Tell whether a build would be answered from its record, without building."""
    from buildkit_py.build.recall import recall
    from buildkit_py.cli.pybuild import BUILD, make_request
    from buildkit_py.cli.reader import read

    argv = ["--root", str(person.root), "-t", "twice", *options, str(context)]
    return recall(make_request(*read(BUILD, argv))) is not None


def test_nothing_changed(person: Person, context: Path, built: str) -> None:
    done = person.pybuild("-t", "twice", context)

    assert done.image == built
    assert done.ran == []
    assert done.cached[1:] == [RUN, SRC, CONF]


@pytest.mark.parametrize("name", ["Dockerfile", "record"])
def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(
    person: Person, context: Path, built: str, name: str
) -> None:
    path = next((person.root / "recall").iterdir()) if name == "record" else context / name
    for each in path.parent.iterdir() if name == "record" else [path]:
        each.unlink()
        os.mkfifo(each)

    done = person.pybuild("-t", "twice", context, code=None, timeout_seconds=20)

    assert done.code == (0 if name == "record" else 2)


def test_a_record_of_somebody_else_is_not_read(person: Person, context: Path, built: str) -> None:
    for each in (person.root / "recall").iterdir():
        os.chown(each, 12345, -1)

    assert not is_recalled(person, context)


def test_a_layer_that_is_gone_is_made_again(person: Person, context: Path, built: str) -> None:
    (*_, layer) = person.manifest("docker.io/library/twice:latest")["layers"]
    path = Path(person.root, "content/blobs", *layer["digest"].split(":"))
    path.unlink()

    assert person.pybuild("-t", "twice", context).image == built
    assert path.exists()


def test_a_base_whose_layer_is_gone_is_never_built_upon(
    person: Person, context: Path, built: str
) -> None:
    base, *_ = person.manifest("docker.io/library/twice:latest")["layers"]
    path = Path(person.root, "content/blobs", *base["digest"].split(":"))
    kept = path.read_bytes()
    path.unlink()
    try:
        done = person.pybuild("-t", "twice", context, code=5)
    finally:
        path.write_bytes(kept)

    assert f"the store has no content `{base['digest']}`" in done.stderr


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "content": (lambda c: (c / "src/a.txt").write_text("A"), [SRC, CONF]),
    "mode": (lambda c: (c / "src/a.txt").chmod(0o600), [SRC, CONF]),
    "mode of a directory": (lambda c: (c / "src/deep").chmod(0o700), [SRC, CONF]),
    "mode of the copied directory's child": (
        lambda c: (c / "src/deep/b.txt").chmod(0o4755),
        [SRC, CONF],
    ),
    "link target": (
        lambda c: relink(c / "src/link", "deep"),
        [SRC, CONF],
    ),
    "new file": (lambda c: (c / "src/deep/new").touch(), [SRC, CONF]),
    "new empty directory": (lambda c: (c / "src/new").mkdir(), [SRC, CONF]),
    "deleted file": (lambda c: (c / "src/deep/b.txt").unlink(), [SRC, CONF]),
    "renamed file": (lambda c: (c / "src/a.txt").rename(c / "src/c.txt"), [SRC, CONF]),
    "file becomes a link": (
        lambda c: relink(c / "src/a.txt", "deep/b.txt"),
        [SRC, CONF],
    ),
    "a new match of a wildcard": (lambda c: (c / "more.conf").write_text("y"), [CONF]),
    "a match of a wildcard is gone": (
        lambda c: (c / "extra.conf").rename(c / "else.conf"),
        [CONF],
    ),
    "ignore file hides more": (
        lambda c: (c / ".dockerignore").write_text("ignored\n*.log\nsrc/deep\n"),
        [SRC, CONF],
    ),
    "ignore file for this Dockerfile": (
        lambda c: (c / "Dockerfile.dockerignore").write_text("src/link\n"),
        [SRC, CONF],
    ),
    "Dockerfile": (
        lambda c: (c / "Dockerfile").write_text(
            (c / "Dockerfile").read_text().replace("COPY *.conf /etc/", "COPY *.conf /opt/")
        ),
        ["COPY *.conf /opt/"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_runs_what_it_must_and_nothing_else(
    person: Person, context: Path, built: str, change: str
) -> None:
    make, expected = CHANGES[change]
    make(context)

    assert not is_recalled(person, context)
    done = person.pybuild("-t", "twice", context)

    assert [step for step in done.ran if not step.startswith("FROM")] == expected
    assert done.image != built


def test_the_same_size_and_the_old_time_do_not_hide_a_change(
    person: Person, context: Path, built: str
) -> None:
    file = context / "src/a.txt"
    before = file.stat()
    file.write_text("Z")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    done = person.pybuild("-t", "twice", context)

    assert done.ran == [SRC, CONF]


def test_a_file_swapped_for_another_of_equal_look_is_a_change(
    person: Person, context: Path, built: str
) -> None:
    file, other = context / "src/a.txt", context / "src/deep/b.txt"
    times = file.stat().st_mtime_ns
    os.utime(other, ns=(times, times))
    file.rename(context / "src/t")
    other.rename(file)
    (context / "src/t").rename(other)

    done = person.pybuild("-t", "twice", context)

    assert done.ran == [SRC, CONF]


HARMLESS: dict[str, Callable[[Path], object]] = {
    "ignored file changes": lambda c: (c / "ignored/file").write_text("changed"),
    "ignored file appears": lambda c: (c / "ignored/other").write_text("new"),
    "unused file changes": lambda c: (c / "unused").write_text("changed"),
    "time of a file": lambda c: os.utime(c / "src/a.txt", (1, 1)),
    "ignored by pattern": lambda c: (c / "src.log").write_text("new"),
    "a rule that hides nothing": lambda c: (c / ".dockerignore").write_text("ignored\n*.log\nx\n"),
    "comment": lambda c: (c / "Dockerfile").write_text(
        "# a comment\n" + (c / "Dockerfile").read_text()
    ),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_does_not_matter_runs_nothing(
    person: Person, context: Path, built: str, change: str
) -> None:
    HARMLESS[change](context)

    done = person.pybuild("-t", "twice", context)

    assert (done.ran, done.image) == ([], built)


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        (["--build-arg", "WHO=you"], [RUN, SRC, CONF]),
        (["--label", "a=b"], []),
        (["--no-cache"], [RUN, SRC, CONF]),
    ],
)
def test_other_options_are_another_build(
    person: Person, context: Path, built: str, options: list[str], ran: list[str]
) -> None:
    done = person.pybuild("-t", "twice", *options, context)

    assert [step for step in done.ran if not step.startswith("FROM")] == ran
    assert done.image != built


def test_a_build_argument_from_the_environment_counts(person: Person, context: Path) -> None:
    settle(context)
    options = ["-t", "twice", "--build-arg", "WHO"]
    one = person.pybuild(*options, context, env={"WHO": "one"})

    again = person.pybuild(*options, context, env={"WHO": "one"})
    two = person.pybuild(*options, context, env={"WHO": "two"})

    assert again.image == one.image
    assert two.ran == [RUN, SRC, CONF]


def test_another_base_image_under_the_same_name_is_seen(person: Person, context: Path) -> None:
    text = (context / "Dockerfile").read_text().replace("FROM busybox", "FROM mybase")
    (context / "Base").write_text("FROM busybox\nRUN touch /old\n")
    person.pybuild("-t", "mybase", "-f", context / "Base", context)
    (context / "Dockerfile").write_text(text)
    settle(context)
    first = person.pybuild("-t", "twice", context)
    (context / "Base").write_text("FROM busybox\nRUN touch /new\n")
    person.pybuild("-t", "mybase", "-f", context / "Base", context)

    second = person.pybuild("-t", "twice", context)

    assert second.image != first.image
    assert RUN in second.ran


def test_an_image_of_another_name_does_not_disturb_it(
    person: Person, context: Path, built: str
) -> None:
    (context / "Other").write_text("FROM busybox\nLABEL other=1\n")
    person.pybuild("-t", "other", "-f", context / "Other", context)
    (context / "Other").unlink()

    assert is_recalled(person, context)


def test_a_name_that_moved_to_another_image_comes_back(
    person: Person, context: Path, built: str
) -> None:
    (context / "Other").write_text("FROM busybox\nLABEL other=2\n")
    person.pybuild("-t", "twice", "-f", context / "Other", context)

    done = person.pybuild("-t", "twice", context)

    assert done.image == built
    assert person.manifest("docker.io/library/twice:latest")["config"]["digest"] == built


def test_iidfile_and_metadata_are_written_by_a_no_op_too(
    person: Person, context: Path, built: str, tmp_path: Path
) -> None:
    files = ["--iidfile", str(tmp_path / "id"), "--metadata-file", str(tmp_path / "meta")]

    person.pybuild("-t", "twice", *files, context)

    assert (tmp_path / "id").read_text() == built
    assert f'"containerimage.config.digest": "{built}"' in (tmp_path / "meta").read_text()


def test_a_file_written_while_building_is_not_missed(person: Person, context: Path) -> None:
    """A record is kept only of what was quiet: here a RUN waits while the context changes."""
    (context / "Dockerfile").write_text("FROM busybox\nCOPY src /src\nRUN sleep 0.5\n")
    settle(context)
    with person.start(person.arguments("-t", "t", "--no-cache", context)) as build:
        assert build.stderr is not None
        while b"] RUN" not in (line := build.stderr.readline()):
            assert line
        (context / "src/a.txt").write_text("Q")
        build.stderr.read()
        assert build.wait(60) == 0

    person.pybuild("-t", "t", context)

    layer = person.manifest("docker.io/library/t:latest")["layers"][1]
    with tarfile.open(fileobj=io.BytesIO(person.blob(layer["digest"]))) as tar:
        file = tar.extractfile("src/a.txt")
        assert file is not None
        assert file.read() == b"Q"


def test_a_step_s_warning_is_said_from_the_cache_too(person: Person, context: Path) -> None:
    text = "FROM busybox\nCOPY --chown=nosuch src /warned\n"
    (context / "Dockerfile").write_text(text)
    settle(context)
    first = person.pybuild("-t", "warned", context)

    recalled = person.pybuild("-t", "warned", context)
    again = person.pybuild("-t", "warned", "--label", "x=y", context)
    strict = person.pybuild("-t", "warned", "--strict", context, code=2)

    warning = "warning[build/unknown-owner]: unable to find user nosuch"
    assert all(warning in done.stderr for done in (first, recalled, again))
    assert (recalled.ran, again.ran) == ([], [])
    assert "error[build/unknown-owner]" in strict.stderr
