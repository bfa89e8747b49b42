"""Layers made of snapshots: what is in them, and that the same files give the same bytes."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkit_py.core.digest import sha256
from buildkit_py.store.layers.pack import ReservedName, pack
from buildkit_py.store.layers.record import Layer
from buildkit_py.store.layers.tar_write import END
from buildkit_py.store.layers.unpack import Rules, unpack_layer
from buildkit_py.store.snapshots import SnapshotId
from buildkit_py.store.store import Store
from tests.store.tars import add_test_image, file, folder, hard_link, link, tar

ROOT = os.geteuid() == 0
NS = 1_000_000_000


def layer_tar(store: Store, layer: Layer) -> bytes:
    return gzip.decompress(Path(store.content.path(layer.descriptor.digest)).read_bytes())


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


def names(data: bytes) -> list[str]:
    return [m.name + "/" * m.isdir() for m in members(data)]


def changed(store: Store, parent: SnapshotId | None, change: Any) -> SnapshotId:
    """Commit what `change` does to a mounted snapshot; it gets the path of its root."""
    active = store.snapshots.prepare(parent)
    with active.mount() as fd:
        change(Path(f"/proc/self/fd/{fd}"))
    return active.commit()


def base(store: Store) -> SnapshotId:
    layer = tar(
        folder("etc"), file("etc/passwd", b"root\n"), file("etc/old", b"old"),
        folder("dir"), file("dir/a", b"a"), file("dir/b", b"b"), folder("dir/sub"),
        file("dir/sub/deep", b"deep"), link("link", "dir"), hard_link("hard", "dir/a"),
        folder("tree"), folder("tree/x"), file("tree/x/y", b"y"), file("file", b"file"),
    )  # fmt: skip
    manifest, config, _ = add_test_image(store, layer)
    top = store.snapshots.unpack_image(manifest, config)
    assert top is not None
    return top


def test_an_empty_change_is_an_empty_tar(store: Store) -> None:
    layer = pack(store.snapshots, store.content, store.snapshots.prepare(None).commit())

    assert layer_tar(store, layer) == END
    assert layer.diff_id == sha256(END)


def test_a_layer_is_packed_once(store: Store) -> None:
    id = changed(store, None, lambda root: (root / "f").write_text("x"))
    first = pack(store.snapshots, store.content, id)
    Path(store.snapshots.directory(id), "fs", "f").write_text("nobody looks again")

    assert pack(store.snapshots, store.content, id) == first


def test_a_layer_whose_content_was_removed_is_packed_again(store: Store) -> None:
    id = changed(store, None, lambda root: (root / "f").write_text("x"))
    first = pack(store.snapshots, store.content, id)
    store.content.remove(first.descriptor.digest)

    assert pack(store.snapshots, store.content, id) == first
    assert store.content.has(first.descriptor.digest)


def test_a_name_that_means_removal_is_refused(store: Store) -> None:
    id = changed(store, None, lambda root: (root / ".wh.x").write_text(""))

    with pytest.raises(ReservedName, match=r"`\.wh\.x`"):
        pack(store.snapshots, store.content, id)


def test_headers_are_those_of_go(store: Store) -> None:
    def change(root: Path) -> None:
        (root / "bin").mkdir(mode=0o755)
        (root / "bin/tool").write_bytes(b"#!")
        os.chmod(root / "bin/tool", 0o4755)
        os.utime(root / "bin/tool", ns=(0, 5 * NS + 999))
        os.utime(root / "bin", (7, 7))

    data = layer_tar(store, pack(store.snapshots, store.content, changed(store, None, change)))

    assert data[:100].rstrip(b"\0") == b"bin/"
    assert data[100:148] == b"0000755\x000000000\x000000000\x0000000000000\x0000000000007\0"
    assert data[148:156] == b"%06o\0 " % (sum(data[:148]) + sum(data[156:512]) + 256)
    assert data[156:265] == b"5" + bytes(100) + b"ustar\x0000"
    tool = data[512:1024]
    assert tool[100:148] == b"0004755\x000000000\x000000000\x0000000000002\x0000000000005\0"
    assert data[1024:1536] == b"#!".ljust(512, b"\0")
    assert data[1536:] == bytes(1024)


@pytest.mark.root
def test_a_layer_holds_changes_parents_and_whiteouts(any_store: Store) -> None:
    def change(root: Path) -> None:
        (root / "etc/old").unlink()
        (root / "etc/new").write_text("new")
        (root / "dir/sub/deep").write_text("changed")
        os.utime(root / "tree", (1, 1))
        os.chmod(root / "file", 0o600)

    id = changed(any_store, base(any_store), change)
    data = layer_tar(any_store, pack(any_store.snapshots, any_store.content, id))

    assert names(data) == [
        "dir/", "dir/sub/", "dir/sub/deep", "etc/", "etc/new", "etc/.wh.old", "file",
    ]  # fmt: skip
    whiteout = next(m for m in members(data) if ".wh." in m.name)
    assert (whiteout.mode, whiteout.mtime, whiteout.uid, whiteout.size) == (0, 0, 0, 0)


@pytest.mark.root
def test_a_directory_made_anew_becomes_explicit_whiteouts(any_store: Store) -> None:
    def change(root: Path) -> None:
        shutil.rmtree(root / "dir")
        shutil.rmtree(root / "tree")
        (root / "dir").mkdir()
        (root / "dir/b").write_text("new b")
        (root / "tree").write_text("a file now")

    id = changed(any_store, base(any_store), change)
    data = layer_tar(any_store, pack(any_store.snapshots, any_store.content, id))

    assert names(data) == ["dir/", "dir/.wh.a", "dir/b", "dir/.wh.sub", "tree"]


@pytest.mark.root
def test_what_was_touched_and_is_the_same_is_in_no_layer(any_store: Store) -> None:
    def change(root: Path) -> None:
        os.chmod(root / "file", 0o600)
        os.chmod(root / "file", 0o644)
        os.utime(root / "dir/sub", (1, 1))
        (root / "dir/sub/new").write_text("")
        (root / "dir/sub/new").unlink()

    id = changed(any_store, base(any_store), change)
    data = layer_tar(any_store, pack(any_store.snapshots, any_store.content, id))

    assert names(data) == []


@pytest.mark.root
def test_same_size_and_time_do_not_hide_a_change(any_store: Store) -> None:
    def change(root: Path) -> None:
        before = os.stat(root / "file")
        (root / "file").write_text("FILE")
        os.utime(root / "file", ns=(before.st_atime_ns, before.st_mtime_ns))

    id = changed(any_store, base(any_store), change)
    data = layer_tar(any_store, pack(any_store.snapshots, any_store.content, id))

    assert names(data) == ["file"]


@pytest.mark.root
def test_devices_pipes_links_and_attributes_are_packed(any_store: Store) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")

    def change(root: Path) -> None:
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mkfifo(root / "pipe")
        (root / "one").write_text("1")
        os.link(root / "one", root / "two")
        os.symlink("x" * 300, root / "zlong")
        os.setxattr(root / "one", "user.note", b"hi")
        os.setxattr(root / "one", "security.capability", capability)
        os.setxattr(root / "one", "trusted.secret", b"no")

    id = changed(any_store, base(any_store), change)
    data = layer_tar(any_store, pack(any_store.snapshots, any_store.content, id))

    found = {m.name: m for m in members(data)}
    assert (found["null"].type, found["null"].devmajor, found["null"].devminor) == (b"3", 1, 3)
    assert found["pipe"].isfifo()
    assert (found["two"].type, found["two"].linkname) == (b"1", "one")
    assert found["zlong"].linkname == "x" * 300
    assert b"SCHILY.xattr.user.note=hi\n" in data
    assert b"SCHILY.xattr.security.capability=" + capability in data
    assert b"trusted" not in data


# One tree of names and what may happen to each of them in a step.
NAMES = st.sampled_from(
    "etc etc/passwd dir dir/a dir/b dir/sub dir/sub/deep tree file link".split()
)
NEW = st.sampled_from("etc/n1 dir/n2 dir/sub/n3 n4 tree/x/n5 dir etc file".split())
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("write"), st.one_of(NAMES, NEW)),
        st.tuples(st.just("mkdir"), st.one_of(NAMES, NEW)),
        st.tuples(st.just("chmod"), NAMES),
        st.tuples(st.just("link"), NEW),
        st.tuples(st.just("hard"), NEW),
    ),
    max_size=8,
)


def carry_out(root: Path, steps: list[tuple[str, str]]) -> None:
    for kind, name in steps:
        path = root / name
        try:
            if kind == "remove" and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif kind == "remove":
                path.unlink()
            elif kind == "write":
                path.write_text(f"new {name}")
            elif kind == "mkdir":
                path.mkdir()
            elif kind == "chmod":
                os.chmod(path, 0o711)
            elif kind == "link":
                path.symlink_to("somewhere")
            else:
                os.link(root / "n4", path)
        except OSError:
            continue
    for folder_, folders, files in os.walk(root):
        for each in [*folders, *files, "."]:
            os.utime(os.path.join(folder_, each), (9, 9), follow_symlinks=False)


@pytest.mark.root
@pytest.mark.kernel("overlay")
@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, STEPS)
def test_overlay_and_copy_give_the_same_layers(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    seen: list[list[Layer]] = []
    for overlay in ("kernel", "copy"):
        with (
            tempfile.TemporaryDirectory() as root,
            Store.open(root, overlay=overlay) as store,
        ):
            top = base(store)
            layers = []
            for steps in (first, second):
                top = changed(store, top, lambda root, s=steps: carry_out(root, s))
                layers.append(pack(store.snapshots, store.content, top))
            seen.append(layers)

    assert seen[0] == seen[1]


TREES = st.dictionaries(
    st.lists(
        st.binary(min_size=1, max_size=140).filter(
            lambda n: not n.startswith(b".wh.") and n not in (b".", b"..") and not {0, 47} & set(n)
        ),
        min_size=1,
        max_size=3,
    ).map(lambda parts: b"/".join(parts)),
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=2000), st.integers(0, 0o7777)),
        st.tuples(
            st.just("link"), st.binary(min_size=1, max_size=150).filter(lambda t: 0 not in t)
        ),
        st.tuples(st.just("dir"), st.integers(0o700, 0o777)),
    ),
    max_size=10,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, st.integers(-(10**9), 10**11))
def test_what_was_packed_and_unpacked_packs_the_same(
    tree: dict[bytes, tuple[Any, ...]], mtime: int
) -> None:
    with tempfile.TemporaryDirectory() as folder_:
        single = not ROOT
        with Store.open(folder_ + "/r", overlay="copy", single_id=single) as store:
            active = store.snapshots.prepare(None)
            grow(os.fsencode(active.upper), tree, mtime)
            layer = pack(store.snapshots, store.content, active.commit())
            again = store.snapshots.prepare(None)
            with store.content.open(layer.descriptor.digest) as file_:
                done = unpack_layer(
                    file_, again.upper, Rules("copy", single_id=single), diff_id=layer.diff_id
                )

            assert done.skipped == []
            assert pack(store.snapshots, store.content, again.commit()) == layer


def grow(root: bytes, tree: dict[bytes, tuple[Any, ...]], mtime: int) -> None:
    for name, what in tree.items():
        path = root + b"/" + name
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if what[0] == "file":
                with open(path, "xb") as new:
                    new.write(what[1])
                os.chmod(path, what[2] if ROOT else what[2] | 0o600)
            elif what[0] == "link":
                os.symlink(what[1], path)
            else:
                os.mkdir(path)
                os.chmod(path, what[1])
        except OSError:
            continue
    for folder_, folders, files in os.walk(root):
        for each in [*folders, *files]:
            os.utime(os.path.join(folder_, each), (0, mtime), follow_symlinks=False)


@pytest.mark.slow
def test_many_files_are_packed_in_little_memory(store: Store) -> None:
    import tracemalloc

    def change(root: Path) -> None:
        for number in range(50):
            (root / f"d{number}").mkdir()
            for other in range(100):
                (root / f"d{number}/f{other}").write_text(f"{number} {other}")

    id = changed(store, None, change)
    tracemalloc.start()
    try:
        layer = pack(store.snapshots, store.content, id)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(names(layer_tar(store, layer))) == 5_050
    assert peak < 2 << 20
