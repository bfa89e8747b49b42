"""Content appears whole and verified, or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from buildkit_py.core.digest import Digest, sha256
from buildkit_py.core.errors import HostError, StateError
from buildkit_py.store.content import DamagedBlob, DigestMismatch, MissingBlob
from buildkit_py.store.store import Store

WRONG = Digest("sha256:" + "0" * 64)


def test_what_was_put_is_read_again(store: Store) -> None:
    blob = store.content.put(b"text")

    assert (blob.digest, blob.size) == (sha256(b"text"), 4)
    assert store.content.has(blob.digest)
    assert store.content.read(blob.digest) == b"text"
    assert stat.S_IMODE(os.stat(store.content.path(blob.digest)).st_mode) == 0o444


def test_writing_in_pieces_gives_the_same_blob(store: Store) -> None:
    with store.content.writer() as writer:
        for piece in (b"te", b"", b"xt"):
            writer.write(piece)
        blob = writer.commit(sha256(b"text"), 4)

    assert store.content.read(blob.digest) == b"text"


@pytest.mark.parametrize(("digest", "size"), [(WRONG, None), (None, 5), (sha256(b"text"), 3)])
def test_the_wrong_bytes_are_not_stored(
    store: Store, digest: Digest | None, size: int | None
) -> None:
    with store.content.writer() as writer:
        writer.write(b"text")
        with pytest.raises(DigestMismatch):
            writer.commit(digest, size)

    assert store.content.digests() == []
    assert os.listdir(store.session.directory) == ["lock"]


def test_what_is_not_committed_vanishes(store: Store) -> None:
    with store.content.writer() as writer:
        writer.write(b"text")

    assert store.content.digests() == []
    assert os.listdir(store.session.directory) == ["lock"]


def test_the_same_blob_twice_is_kept_once(store: Store) -> None:
    first = os.stat(store.content.path(store.content.put(b"text").digest)).st_ino

    again = store.content.put(b"text")

    assert os.stat(store.content.path(again.digest)).st_ino == first


def test_a_blob_that_lost_its_bytes_is_replaced(store: Store) -> None:
    path = Path(store.content.path(store.content.put(b"text").digest))
    path.unlink()
    path.write_bytes(b"")

    store.content.put(b"text")

    assert path.read_bytes() == b"text"


def test_a_damaged_manifest_is_noticed(store: Store) -> None:
    digest = store.content.put(b"text").digest
    path = Path(store.content.path(digest))
    path.unlink()
    path.write_bytes(b"TEXT")

    with pytest.raises(DamagedBlob, match="is damaged"):
        store.content.read(digest)


def test_missing_content_is_named(store: Store) -> None:
    with pytest.raises(MissingBlob, match="sha256:0000"):
        store.content.read(WRONG)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "sha256:../x", "sha256:" + "A" * 64, ""])
def test_what_is_no_digest_is_no_path(store: Store, digest: str) -> None:
    with pytest.raises(StateError):
        store.content.path(Digest(digest))


def test_a_full_disk_is_said_and_leaves_nothing(store: Store) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(HostError, match="File too large"):
            store.content.put(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert os.listdir(store.session.directory) == ["lock"]
