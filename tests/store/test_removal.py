"""Removing images, and what goes with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.store.images import UnknownImage
from buildkit_py.store.layers.pack import pack
from buildkit_py.store.removal import ImageHasNames, remove_image, sweep_content
from buildkit_py.store.store import Store
from tests.store.tars import add_test_image, file, tar

HELLO = "docker.io/library/hello:1"
AGAIN = "docker.io/library/again:2"
ONE, TWO = tar(file("one")), tar(file("two"))


def test_the_last_name_takes_the_image_with_it(store: Store) -> None:
    manifest, config, _ = add_test_image(store, ONE, TWO, name=HELLO)
    store.snapshots.unpack_image(manifest, config)
    chains = sorted(os.listdir(Path(store.root, "chains")))

    lines = remove_image(store, "hello:1")

    assert lines[:2] == ["Untagged: hello:1", f"Deleted: {manifest.config.digest}"]
    assert sorted(line[16:] for line in lines[2:]) == chains
    assert store.content.digests() == []
    assert store.snapshots.list() == []


def test_another_name_keeps_the_image(store: Store) -> None:
    manifest, config, descriptor = add_test_image(store, ONE, name=HELLO)
    store.images.put(AGAIN, descriptor)
    store.snapshots.unpack_image(manifest, config)

    assert remove_image(store, "hello:1") == ["Untagged: hello:1"]
    assert len(store.content.digests()) == 3
    assert len(store.snapshots.list()) == 1


def test_an_id_with_several_names_needs_force(store: Store) -> None:
    manifest, _, descriptor = add_test_image(store, ONE, name=HELLO)
    store.images.put(AGAIN, descriptor)
    id = manifest.config.digest

    with pytest.raises(ImageHasNames, match="`again:2`, `hello:1`"):
        remove_image(store, id[7:19])

    assert remove_image(store, id[7:19], force=True) == [
        "Untagged: again:2",
        "Untagged: hello:1",
        f"Deleted: {id}",
    ]
    assert store.content.digests() == []


def test_layers_of_other_images_stay(store: Store) -> None:
    first = add_test_image(store, ONE, TWO, name=HELLO)
    second = add_test_image(store, ONE, name=AGAIN)
    for manifest, config, _ in (first, second):
        store.snapshots.unpack_image(manifest, config)

    lines = remove_image(store, "hello:1")

    assert len(lines) == 3
    assert len(store.snapshots.list()) == 1
    assert {store.content.has(layer.digest) for layer in second[0].layers} == {True}
    assert not store.content.has(first[0].layers[1].digest)


def test_snapshots_that_others_stand_on_stay(store: Store) -> None:
    manifest, config, _ = add_test_image(store, ONE, name=HELLO)
    base = store.snapshots.unpack_image(manifest, config)
    child = store.snapshots.prepare(base).commit()
    layer = pack(store.snapshots, store.content, child)

    lines = remove_image(store, "hello:1")

    assert lines == ["Untagged: hello:1", f"Deleted: {manifest.config.digest}"]
    assert store.snapshots.exists(child)
    assert store.content.has(layer.descriptor.digest)


def test_while_another_session_is_open_content_stays(store: Store) -> None:
    add_test_image(store, ONE, name=HELLO)
    with Store.open(store.root, overlay="copy", single_id=store.snapshots.single_id):
        assert len(remove_image(store, "hello:1")) == 2
        assert len(store.content.digests()) == 3

    assert sweep_content(store) > 0
    assert store.content.digests() == []


def test_what_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(UnknownImage, match="`nothing`"):
        remove_image(store, "nothing")
