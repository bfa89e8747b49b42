"""Images made from tars, listed, and found."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.core.errors import InputError, RemoteError
from buildkit_py.engine.images import WrongPlatform, find_or_pull, import_image, list_images
from buildkit_py.oci.platform import Platform
from buildkit_py.oci.reference import Reference
from buildkit_py.store.images import ImageRecord, UnknownImage
from buildkit_py.store.layers.errors import BadLayer
from buildkit_py.store.removal import remove_image
from buildkit_py.store.store import Store

HERE = Platform("linux", "amd64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "root"), overlay="copy") as store:
        yield store


def refuse(reference: Reference) -> None:
    pytest.fail(f"`{reference.familiar}` was pulled")


def rootfs(content: bytes = b"hello") -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def add(store: Store, name: str | None, content: bytes = b"hello") -> ImageRecord:
    return import_image(store, rootfs(content), name, platform=HERE)


def test_an_imported_image_has_its_changes_and_its_comment(store: Store) -> None:
    record = import_image(
        store,
        rootfs(),
        "mine:1",
        platform=HERE,
        changes=['CMD ["sh"]'],
        message="made by hand",
    )

    config = store.images.config(record.config)
    assert record.name == "docker.io/library/mine:1"
    assert config.config.cmd == ("sh",)
    assert [each.comment for each in config.history] == ["made by hand"]
    assert store.images.find("mine:1").config == record.config


@pytest.mark.parametrize("data", [b"", b"this is no tar", bytes(10240)])
def test_what_is_no_tar_leaves_no_image(store: Store, data: bytes) -> None:
    with pytest.raises(BadLayer):
        import_image(store, io.BytesIO(data), "mine", platform=HERE)

    assert list_images(store) == []
    assert list(store.content.digests()) == []


def test_a_bad_change_is_found_before_the_tar_is_read(store: Store) -> None:
    source = rootfs()

    with pytest.raises(InputError):
        import_image(store, source, "mine", platform=HERE, changes=["RUN x"])

    assert source.tell() == 0


def test_a_digest_is_no_name(store: Store) -> None:
    with pytest.raises(InputError, match="digest"):
        add(store, "mine@sha256:" + "0" * 64)


def test_images_are_listed_by_name_and_the_nameless_too(store: Store) -> None:
    add(store, "a:1", b"1")
    add(store, "a:2", b"2")
    add(store, "example.com/b", b"3")
    add(store, None, b"4")

    rows = {(row.repository, row.tag) for row in list_images(store)}

    assert rows == {("a", "1"), ("a", "2"), ("example.com/b", "latest"), (None, None)}


def test_a_repository_has_all_its_tags_and_a_tag_only_itself(store: Store) -> None:
    add(store, "a:1", b"1")
    add(store, "a:2", b"2")
    add(store, "b:2", b"3")

    assert sorted(str(row.tag) for row in list_images(store, "a")) == ["1", "2"]
    assert [row.repository for row in list_images(store, "b:2")] == ["b"]
    assert list_images(store, "b:1") == []


def test_an_image_of_the_store_is_not_pulled(store: Store) -> None:
    record = add(store, "mine")

    found, config = find_or_pull(store, "mine", platform=HERE, on_pull=refuse)

    assert found == record
    assert config.platform == HERE
    by_id, _ = find_or_pull(store, record.config[7:19], platform=HERE, on_pull=refuse)
    assert by_id == record


def test_never_pull_means_never(store: Store) -> None:
    with pytest.raises(UnknownImage):
        find_or_pull(store, "mine", platform=HERE, policy="never", on_pull=refuse)


def test_an_image_for_another_machine_does_not_run(store: Store) -> None:
    add(store, "mine")

    with pytest.raises(WrongPlatform, match="linux/amd64"):
        find_or_pull(store, "mine", platform=Platform("linux", "s390x"), policy="never")


@pytest.mark.parametrize(("policy", "name"), [("missing", "other"), ("always", "mine")])
def test_the_registry_that_the_name_says_is_asked(store: Store, policy: str, name: str) -> None:
    # Nobody listens on port 1 of the loopback.
    add(store, "127.0.0.1:1/mine")
    told: list[Reference] = []

    with pytest.raises(RemoteError):
        find_or_pull(
            store,
            f"127.0.0.1:1/{name}",
            platform=HERE,
            policy=policy,  # type: ignore[arg-type]
            on_pull=told.append,
        )

    assert [each.familiar for each in told] == [f"127.0.0.1:1/{name}:latest"]


@pytest.mark.parametrize("part", ["config", "manifest"])
@pytest.mark.parametrize("by", ["name", "id"])
def test_a_damaged_image_neither_hides_the_others_nor_stays(
    store: Store, part: str, by: str
) -> None:
    kept = add(store, "kept:1", b"kept")
    bad = add(store, "bad:1", b"bad")
    digest = bad.config if part == "config" else bad.descriptor.digest
    path = Path(store.content.path(digest))
    path.chmod(0o644)
    path.write_bytes(b"")
    told: list[tuple[str | None, int]] = []

    rows = list_images(
        store, on_damage=lambda record, error: told.append((record.name, error.exit_code))
    )
    assert [row.id for row in rows] == [kept.config]
    assert told == [("docker.io/library/bad:1", 5)]

    remove_image(store, "bad:1" if by == "name" else bad.config[7:19])
    assert [row.id for row in list_images(store)] == [kept.config]
    assert not path.exists()
