"""Snapshots on the real file system: overlays and copies show the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import StateError
from buildkit_py.oci.image import BadImage, chain_ids
from buildkit_py.store.content import DigestMismatch
from buildkit_py.store.layers.pack import pack
from buildkit_py.store.snapshots import MissingSnapshot, SnapshotId
from buildkit_py.store.store import Store
from tests.store.tars import TIME, add_test_image, file, folder, link, tar

LOWER = tar(
    folder("a"), file("a/x", b"x"), file("a/y", b"y"), folder("b"), file("b/old", b"old"),
    folder("gone"), file("gone/1", b"1"), file("plain", b"plain"), link("l", "a"),
)  # fmt: skip
UPPER = tar(
    folder("b", mode=0o700), file("b/.wh..wh..opq"), file("b/new", b"new"), file(".wh.gone"),
    folder("a"), file("a/.wh.y"), file("plain", b"changed"),
)  # fmt: skip


def _write(text: str, root: Path) -> None:
    (root / "f").write_text(text)


def unpacked(store: Store, *layers: bytes) -> SnapshotId:
    manifest, config, _ = add_test_image(store, *layers)
    top = store.snapshots.unpack_image(manifest, config)
    assert top is not None
    return top


def seen(store: Store, id: SnapshotId) -> dict[str, bytes | str]:
    """The names of a snapshot with their content."""
    found: dict[str, bytes | str] = {}
    with store.snapshots.view(id) as fd:
        root = f"/proc/self/fd/{fd}"
        for base, folders, files in os.walk(root):
            for name in folders + files:
                full = Path(base, name)
                short = str(full)[len(root) + 1 :]
                if full.is_symlink():
                    found[short] = os.readlink(full)
                else:
                    found[short] = b"/" if full.is_dir() else full.read_bytes()
    return found


def committed(
    store: Store, parent: SnapshotId | None, change: Callable[[Path], object]
) -> SnapshotId:
    active = store.snapshots.prepare(parent)
    with active.mount() as fd:
        change(Path(f"/proc/self/fd/{fd}"))
    return active.commit()


@pytest.mark.root
def test_layers_show_what_the_image_means(any_store: Store) -> None:
    top = unpacked(any_store, LOWER, UPPER)

    assert seen(any_store, top) == {
        "a": b"/", "a/x": b"x", "b": b"/", "b/new": b"new", "plain": b"changed", "l": "a",
    }  # fmt: skip
    with any_store.snapshots.view(top) as fd:
        state = os.stat("b", dir_fd=fd)
        assert (state.st_mode & 0o777, state.st_mtime) == (0o700, TIME)


@pytest.mark.root
@pytest.mark.parametrize(
    ("upper", "shown"),
    [
        (tar(file(".wh.b"), folder("b"), file("b/n", b"n")), ["b", "b/n"]),
        (tar(folder("b"), file("b/n", b"n"), file(".wh.b")), ["b", "b/n"]),
        (tar(folder("b"), file("b/n", b"n")), ["b", "b/n", "b/old"]),
        (tar(file("b", b"file")), ["b"]),
        (tar(file("b", b"file"), folder("b"), file("b/n")), ["b", "b/n"]),
        (tar(file("b/.wh..wh..opq")), ["b"]),
        (tar(file("b/n"), file("b/.wh..wh..opq")), ["b", "b/n"]),
        (tar(file(".wh.b"), file("b/n")), ["b", "b/n"]),
        (tar(link("b", "a")), ["b"]),
        (tar(file(".wh.b")), []),
        (tar(file(".wh.nothing")), ["b", "b/old"]),
    ],
    ids=range(11),
)
def test_removal_and_replacement(any_store: Store, upper: bytes, shown: list[str]) -> None:
    top = unpacked(any_store, LOWER, upper)

    assert sorted(n for n in seen(any_store, top) if n.split("/")[0] == "b") == shown


@pytest.mark.root
def test_an_opaque_root_hides_all_below(any_store: Store) -> None:
    top = unpacked(any_store, LOWER, tar(file(".wh..wh..opq"), file("only", b"x")))

    assert seen(any_store, top) == {"only": b"x"}


@pytest.mark.root
def test_changes_show_above_their_parent_and_leave_it_alone(any_store: Store) -> None:
    parent = unpacked(any_store, LOWER)
    before = seen(any_store, parent)

    def change(root: Path) -> None:
        (root / "a/x").write_text("changed")
        (root / "plain").unlink()
        (root / "new").write_text("new")

    id = committed(any_store, parent, change)

    after = seen(any_store, id)
    assert (after["a/x"], after["new"]) == (b"changed", b"new")
    assert "plain" not in after
    assert seen(any_store, parent) == before
    assert any_store.snapshots.parent(id) == parent


@pytest.mark.root
def test_the_root_directory_keeps_mode_and_owner(any_store: Store) -> None:
    parent = unpacked(any_store, tar(folder("./", mode=0o711, uid=5), file("f")))

    id = committed(any_store, parent, lambda root: (root / "g").write_text(""))

    with any_store.snapshots.view(id) as fd:
        state = os.stat(".", dir_fd=fd)
    assert (state.st_mode & 0o777, state.st_uid) == (0o711, 5)


@pytest.mark.root
@pytest.mark.kernel("overlay")
def test_a_view_is_read_only(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "root"), overlay="kernel") as store:
        for id in (unpacked(store, LOWER), unpacked(store, LOWER, UPPER)):
            with store.snapshots.view(id) as fd, pytest.raises(OSError, match="Read-only"):
                os.mkdir("new", dir_fd=fd)


@pytest.mark.root
@pytest.mark.kernel("overlay")
@pytest.mark.slow
def test_two_hundred_layers_are_one_file_system(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "root"), overlay="kernel") as store:
        top: SnapshotId | None = None
        for number in range(200):
            active = store.snapshots.prepare(top)
            Path(active.upper, f"f{number}").write_text(str(number))
            top = active.commit()
        assert top is not None
        id = committed(store, top, lambda root: (root / "f7").unlink())

        assert len(seen(store, id)) == 199
        assert len(store.snapshots.stack(id)) == 201


@pytest.mark.root
def test_no_mount_is_left_behind(any_store: Store) -> None:
    before = Path("/proc/self/mountinfo").read_text()

    id = committed(any_store, unpacked(any_store, LOWER), lambda root: (root / "n").mkdir())
    seen(any_store, id)

    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_discarded_snapshot_is_gone(store: Store) -> None:
    active = store.snapshots.prepare(None)
    Path(active.upper, "f").write_text("x")

    active.discard()

    assert store.snapshots.list() == []
    assert os.listdir(store.session.directory) == ["lock"]


def test_layers_are_unpacked_once(store: Store) -> None:
    first = unpacked(store, LOWER, UPPER)

    assert unpacked(store, LOWER, UPPER) == first
    assert len(store.snapshots.list()) == 2


def test_images_share_their_lower_layers(store: Store) -> None:
    one = unpacked(store, LOWER, UPPER)
    two = unpacked(store, LOWER, tar(file("other")))

    assert store.snapshots.parent(one) == store.snapshots.parent(two)
    assert len(store.snapshots.list()) == 3


def test_an_unpacked_layer_is_known_by_its_chain_id(store: Store) -> None:
    manifest, config, _ = add_test_image(store, LOWER, UPPER)
    top = store.snapshots.unpack_image(manifest, config)

    chains = chain_ids(config.diff_ids)
    assert store.snapshots.unpacked(chains[1]) == top
    assert top is not None
    layer = store.snapshots.layer(top)
    assert layer is not None
    assert layer.descriptor == manifest.layers[1]
    assert pack(store.snapshots, store.content, top).diff_id == config.diff_ids[1]


def test_progress_is_told(store: Store) -> None:
    manifest, config, _ = add_test_image(store, LOWER, UPPER)
    told: list[tuple[int, int]] = []

    store.snapshots.unpack_image(manifest, config, lambda n, size: told.append((n, size)))

    assert dict(told) == {0: manifest.layers[0].size, 1: manifest.layers[1].size}


def test_an_image_without_layers_has_no_snapshot(store: Store) -> None:
    manifest, config, _ = add_test_image(store)

    assert store.snapshots.unpack_image(manifest, config) is None


def test_a_layer_that_is_not_what_the_config_says_leaves_nothing(store: Store) -> None:
    manifest, _, _ = add_test_image(store, LOWER)
    _, config, _ = add_test_image(store, UPPER)

    with pytest.raises(DigestMismatch, match="diff id"):
        store.snapshots.unpack_image(manifest, config)

    assert store.snapshots.list() == []
    assert os.listdir(store.session.directory) == ["lock"]


def test_layers_and_diff_ids_must_be_as_many(store: Store) -> None:
    manifest, _, _ = add_test_image(store, LOWER)
    _, config, _ = add_test_image(store, LOWER, UPPER)

    with pytest.raises(BadImage, match="1 layers, the config 2 diff ids"):
        store.snapshots.unpack_image(manifest, config)


@pytest.mark.root
def test_many_threads_unpack_the_same_image(any_store: Store) -> None:
    manifest, config, _ = add_test_image(any_store, LOWER, UPPER)
    tops: list[SnapshotId | None] = []

    def work() -> None:
        tops.append(any_store.snapshots.unpack_image(manifest, config))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(tops) == 8
    assert len(set(tops)) == 1
    assert seen(any_store, tops[0] or SnapshotId(""))["plain"] == b"changed"


@pytest.mark.root
def test_threads_prepare_and_commit_in_parallel(any_store: Store) -> None:
    parent = unpacked(any_store, LOWER)
    made: list[SnapshotId] = []

    def work(number: int) -> None:
        for round in range(5):
            text = f"{number} {round}"
            id = committed(any_store, parent, partial(_write, text))
            pack(any_store.snapshots, any_store.content, id)
            made.append(id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({seen(any_store, id)["f"] for id in made}) == 20


def test_prune_keeps_what_is_stood_on(store: Store) -> None:
    base = unpacked(store, LOWER)
    kept = committed(store, base, lambda root: None)
    lost = committed(store, base, lambda root: None)
    above = committed(store, lost, lambda root: None)

    removed = store.snapshots.prune([kept])

    assert set(removed) == {lost, above}
    assert store.snapshots.exists(kept)
    assert not store.snapshots.exists(above)
    assert store.snapshots.list() == sorted([base, kept])


def test_prune_forgets_chain_ids(store: Store) -> None:
    manifest, config, _ = add_test_image(store, LOWER)
    top = store.snapshots.unpack_image(manifest, config)

    assert store.snapshots.prune([]) == (top,)
    assert store.snapshots.unpacked(config.diff_ids[0]) is None
    assert os.listdir(Path(store.root, "chains")) == []
    assert store.snapshots.unpack_image(manifest, config) is not None


def test_what_another_id_mapping_wrote_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, config, _ = add_test_image(store, LOWER)
    first = store.snapshots.unpack_image(manifest, config)
    assert first is not None
    above = committed(store, first, lambda root: None)

    with Store.open(store.root, overlay="copy", single_id=store.snapshots.single_id) as later:
        monkeypatch.setattr(later.snapshots, "_ids", "0,1000,1 0,1000,1")

        assert not later.snapshots.exists(above)
        second = later.snapshots.unpack_image(manifest, config)

        assert second not in (None, first)
        assert later.snapshots.unpacked(config.diff_ids[0]) == second
    assert store.snapshots.exists(above)


def test_prune_does_nothing_while_another_session_is_open(store: Store) -> None:
    top = unpacked(store, LOWER)
    with Store.open(store.root, overlay="copy", single_id=store.snapshots.single_id) as other:
        assert store.snapshots.prune([]) == ()
        assert other.snapshots.exists(top)

    assert store.snapshots.prune([]) == (top,)


def test_a_missing_snapshot_is_named(store: Store) -> None:
    with pytest.raises(MissingSnapshot, match="`abcdef`"):
        store.snapshots.prepare(SnapshotId("abcdef"))
    with pytest.raises(StateError, match="no snapshot id"):
        store.snapshots.stack(SnapshotId("../../etc"))


def test_usage_is_what_the_snapshot_itself_occupies(store: Store) -> None:
    id = committed(store, None, lambda root: (root / "f").write_bytes(os.urandom(1 << 20)))

    assert 1 << 20 <= store.snapshots.usage(id) < 1100 << 10


def test_a_chain_id_of_a_removed_snapshot_is_given_anew(store: Store) -> None:
    chain = Digest("sha256:" + "1" * 64)
    first = committed(store, None, lambda root: None)
    store.snapshots.remember_chain(chain, first)
    os.rename(store.snapshots.directory(first), Path(store.session.directory, "taken"))
    second = committed(store, None, lambda root: None)

    assert store.snapshots.remember_chain(chain, second) == second
    assert store.snapshots.unpacked(chain) == second
