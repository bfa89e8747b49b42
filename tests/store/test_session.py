"""What a process leaves when it dies, and what others do with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildkit_py.store.session import UnusableRoot, open_session
from buildkit_py.store.store import Store
from tests.store.tars import add_test_image, file, folder, tar

OPEN = (
    "import os, sys, time\n"
    "from buildkit_py.store.store import Store\n"
    "store = Store.open(sys.argv[1], overlay='copy', single_id=True)\n"
)


def start(root: Path, script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN + script, str(root)],
        stdout=subprocess.PIPE,
    )


def opened(root: Path) -> Store:
    return Store.open(str(root), overlay="copy", single_id=os.geteuid() != 0)


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "root") as store:
        store.snapshots.prepare(None)
        Path(store.session.temporary("blob-")).write_text("half")

    assert os.listdir(tmp_path / "root/tmp") == []


def test_what_the_dead_left_is_swept_and_the_living_keep_theirs(tmp_path: Path) -> None:
    root = tmp_path / "root"
    process = start(
        root, "store.snapshots.prepare(None)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        with opened(root):
            assert len(os.listdir(root / "tmp")) == 2
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert len(os.listdir(root / "tmp")) == 1

    with opened(root) as store:
        assert os.listdir(root / "tmp") == [os.path.basename(store.session.directory)]


WORK = """
from pathlib import Path
from tests.store.tars import add_test_image, file, tar
from buildkit_py.store.layers.pack import pack
print("ready", flush=True)
top = None
n = 0
while True:
    n += 1
    active = store.snapshots.prepare(top if n % 5 else None)
    Path(active.upper, f"f{n}").write_text(str(n))
    top = active.commit()
    pack(store.snapshots, store.content, top)
    m, c, d = add_test_image(store, tar(file("f", b"%d" % n)), name=f"docker.io/library/n{n % 7}:1")
    store.snapshots.unpack_image(m, c)
    if n % 3 == 0:
        store.images.remove(f"docker.io/library/n{n % 7}:1")
        store.snapshots.prune([top])
"""


@pytest.mark.slow
@pytest.mark.parametrize("round", range(8))
def test_killed_at_any_moment_the_store_works(round: int, tmp_path: Path) -> None:
    root = tmp_path / "root"
    process = start(root, WORK)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.02 + 0.02 * round)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    with opened(root) as store:
        assert len(os.listdir(root / "tmp")) == 1
        for record in store.images.list():
            manifest = store.images.manifest(record.descriptor.digest)
            config = store.images.config(record.config)
            assert store.snapshots.unpack_image(manifest, config) is not None
        for id in store.snapshots.list():
            assert store.snapshots.exists(id)
            assert os.path.isdir(store.snapshots.stack(id)[0])
        for digest in store.content.digests():
            store.content.read(digest)
        manifest, config, _ = add_test_image(store, tar(folder("d"), file("d/f", b"x")))
        assert store.snapshots.unpack_image(manifest, config) is not None


def test_nobody_is_alone_while_another_works(tmp_path: Path) -> None:
    with opened(tmp_path / "root") as one:
        with opened(tmp_path / "root"), one.session.alone() as alone:
            assert not alone
        with one.session.alone() as alone:
            assert alone


@pytest.mark.root
def test_snapshots_are_closed_to_other_users(tmp_path: Path) -> None:
    with opened(tmp_path / "root"):
        modes = {n: os.stat(tmp_path / "root" / n).st_mode & 0o777 for n in ("snapshots", "tmp")}

    assert modes == {"snapshots": 0o700, "tmp": 0o700}


@pytest.mark.root
def test_a_root_of_somebody_else_is_refused(tmp_path: Path) -> None:
    open_session(str(tmp_path / "root")).close()
    os.chown(tmp_path / "root", 12345, 12345)

    with pytest.raises(UnusableRoot, match="belongs to somebody else"):
        open_session(str(tmp_path / "root"))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_root_that_cannot_be_made_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnusableRoot, match=f"{place}` cannot be the state root"):
        open_session(str(tmp_path / place))


def test_folders_that_were_removed_are_made_again(tmp_path: Path) -> None:
    open_session(str(tmp_path)).close()
    (tmp_path / "snapshots").rmdir()

    open_session(str(tmp_path)).close()

    assert (tmp_path / "snapshots").stat().st_mode & 0o777 == 0o700
