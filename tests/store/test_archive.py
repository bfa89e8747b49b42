"""Images out as archives and layouts, root file systems in as images."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from buildkit_py.core.digest import sha256
from buildkit_py.oci.image import ContainerConfig, Descriptor
from buildkit_py.oci.platform import Platform
from buildkit_py.store.archive import (
    import_rootfs,
    opened_archive,
    write_archive,
    write_layout,
)
from buildkit_py.store.layers.errors import BadLayer
from buildkit_py.store.store import Store
from tests.store.tars import add_test_image, file, folder, tar

HELLO = "docker.io/library/hello:1"
AGAIN = "registry.example:5000/again:2"
AMD64 = Platform("linux", "amd64")


def image(store: Store) -> Descriptor:
    layers = tar(folder("etc"), file("etc/hello", b"hello")), tar(file("etc/.wh.hello"))
    return add_test_image(store, *layers, name=HELLO)[2]


def archive(store: Store, *names: str, docker: bool = False) -> bytes:
    output = io.BytesIO()
    write_archive(store.content, image(store), names, output, docker=docker)
    return output.getvalue()


def content(data: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        found: dict[str, bytes | None] = {}
        for each in opened.getmembers():
            held = opened.extractfile(each)
            found[each.name] = held.read() if held else None
        return found


def test_an_oci_archive_is_a_layout(store: Store) -> None:
    members = content(archive(store, HELLO, AGAIN))

    assert json.loads(members["oci-layout"] or b"") == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(members["index.json"] or b"")
    assert [
        (
            each["annotations"]["org.opencontainers.image.ref.name"],
            each["annotations"]["io.containerd.image.name"],
        )
        for each in index["manifests"]
    ] == [("1", HELLO), ("2", AGAIN)]
    blobs = {n: d for n, d in members.items() if n.startswith("blobs/sha256/")}
    assert len(blobs) == 4
    assert all(sha256(data or b"")[7:] == name[13:] for name, data in blobs.items())
    assert list(members) == sorted(members)


def test_an_archive_is_always_the_same(store: Store) -> None:
    assert archive(store, HELLO) == archive(store, HELLO)


def test_a_docker_archive_names_config_tags_and_layers(store: Store) -> None:
    members = content(archive(store, HELLO, AGAIN, docker=True))

    (entry,) = json.loads(members["manifest.json"] or b"")
    assert entry["RepoTags"] == ["hello:1", "registry.example:5000/again:2"]
    assert entry["Config"] in members
    assert [layer in members for layer in entry["Layers"]] == [True, True]


def test_an_archive_without_names_has_none(store: Store) -> None:
    members = content(archive(store, docker=True))

    (entry,) = json.loads(members["index.json"] or b"")["manifests"]
    assert "annotations" not in entry
    assert json.loads(members["manifest.json"] or b"")[0]["RepoTags"] is None


def test_a_layout_collects_images_and_names_move(store: Store, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    one, two = image(store), add_test_image(store, tar(file("x")), name=AGAIN)[2]

    write_layout(store.content, one, [HELLO], str(layout))
    write_layout(store.content, two, [AGAIN], str(layout))
    write_layout(store.content, two, [HELLO, AGAIN], str(layout))

    index = json.loads((layout / "index.json").read_bytes())
    assert [each["digest"] for each in index["manifests"]] == [two.digest, two.digest]
    assert len(os.listdir(layout / "blobs/sha256")) == 7


def test_an_archive_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened_archive(str(tmp_path / "x.tar")) as output:
        output.write(b"%d" % (1 // 0))

    assert os.listdir(tmp_path) == []


def test_a_root_file_system_becomes_an_image(store: Store) -> None:
    rootfs = tar(folder("./"), folder("./etc"), file("./etc/motd", b"hi"))
    for packed in (rootfs, gzip.compress(rootfs)):
        record = import_rootfs(
            store,
            io.BytesIO(packed),
            HELLO,
            platform=AMD64,
            config=ContainerConfig(cmd=("sh",)),
            created="2026-01-01T00:00:00Z",
        )

        config = store.images.config(record.config)
        assert config.diff_ids == (sha256(rootfs),)
        assert config.config.cmd == ("sh",)
        assert config.history[0].comment == "Imported from -"
        assert store.images.find("hello:1") == record
        manifest = store.images.manifest(record.descriptor.digest)
        top = store.snapshots.unpack_image(manifest, config)
        assert top is not None
        assert Path(store.snapshots.stack(top)[0], "etc/motd").read_text() == "hi"


@pytest.mark.parametrize(
    "data", [b"", b"no tar" * 100, tar(), tar(file("../x")), tar(file("x", b"1"))[:600]]
)
def test_what_is_no_root_file_system_is_refused(store: Store, data: bytes) -> None:
    with pytest.raises(BadLayer):
        import_rootfs(store, io.BytesIO(data), HELLO, platform=AMD64)

    assert store.images.list() == []
    assert store.content.digests() == []


@pytest.mark.peer("skopeo")
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive", "oci"])
def test_skopeo_reads_what_we_write(store: Store, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "oci":
        write_layout(store.content, image(store), [HELLO], str(path))
    else:
        path.write_bytes(archive(store, HELLO, docker=kind == "docker-archive"))

    done = subprocess.run(["skopeo", "inspect", f"{kind}:{path}"], capture_output=True, check=True)

    assert len(json.loads(done.stdout)["Layers"]) == 2


@pytest.mark.root
@pytest.mark.peer("umoci")
def test_umoci_unpacks_what_we_write(store: Store, tmp_path: Path) -> None:
    layers = tar(folder("etc"), file("etc/a", b"a"), file("etc/b")), tar(file("etc/.wh.b"))
    descriptor = add_test_image(store, *layers)[2]
    write_layout(store.content, descriptor, [HELLO], str(tmp_path / "layout"))

    command = ["umoci", "unpack", "--image", f"{tmp_path}/layout:1", str(tmp_path / "bundle")]
    subprocess.run(command, capture_output=True, check=True)

    assert os.listdir(tmp_path / "bundle/rootfs/etc") == ["a"]
