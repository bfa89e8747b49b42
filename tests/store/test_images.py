"""Names of images, and what they lead to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buildkit_py.oci.image import BadImage, Descriptor
from buildkit_py.store.content import DamagedBlob
from buildkit_py.store.images import AmbiguousImage, DamagedIndex, UnknownImage
from buildkit_py.store.layers.errors import BadLayer
from buildkit_py.store.signature import index_signature
from buildkit_py.store.store import Store
from tests.store.tars import add_test_image, file, tar

HELLO = "docker.io/library/hello:latest"


def image(store: Store, text: str, name: str | None) -> Descriptor:
    return add_test_image(store, tar(file("f", text.encode())), name=name)[2]


def names(store: Store) -> list[str | None]:
    return [record.name for record in store.images.list()]


def test_a_name_leads_to_its_manifest(store: Store) -> None:
    descriptor = image(store, "a", HELLO)

    assert store.images.get(HELLO) == descriptor
    assert store.images.get("docker.io/library/other:latest") is None
    manifest = store.images.manifest(descriptor.digest)
    assert store.images.list()[0].config == manifest.config.digest
    assert store.images.config(manifest.config.digest).platform.os == "linux"


def test_an_image_has_many_names(store: Store) -> None:
    descriptor = image(store, "a", HELLO)
    store.images.put("docker.io/library/again:1", descriptor)

    assert names(store) == ["docker.io/library/again:1", HELLO]


def test_a_name_that_moves_leaves_its_image_nameless(store: Store) -> None:
    first = image(store, "a", HELLO)
    second = image(store, "b", HELLO)

    found = [(record.name, record.descriptor.digest) for record in store.images.list()]
    assert found == [(HELLO, second.digest), (None, first.digest)]


def test_a_nameless_image_that_gets_a_name_is_listed_once(store: Store) -> None:
    descriptor = image(store, "a", None)
    store.images.put(None, descriptor)
    assert names(store) == [None]

    store.images.put(HELLO, descriptor)

    assert names(store) == [HELLO]


def test_removing_a_name_twice_is_nothing(store: Store) -> None:
    image(store, "a", HELLO)

    gone = store.images.remove(HELLO)

    assert gone is not None
    assert gone.name == HELLO
    assert store.images.remove(HELLO) is None
    assert names(store) == []


def test_images_are_found_by_name_and_by_both_digests(store: Store) -> None:
    descriptor = image(store, "a", HELLO)
    config = store.images.manifest(descriptor.digest).config.digest

    for text in (
        "hello", "hello:latest", HELLO, config, config[7:19], config[:20], descriptor.digest,
        descriptor.digest[7:15], f"hello@{descriptor.digest}",
    ):  # fmt: skip
        assert store.images.find(text).descriptor == descriptor


@pytest.mark.parametrize("text", ["nothing", "sha256:", "", "UPPER", "0123456789abcdef", "../x"])
def test_what_is_not_there_is_named(store: Store, text: str) -> None:
    image(store, "a", HELLO)

    with pytest.raises(UnknownImage):
        store.images.find(text)


def test_an_ambiguous_beginning_is_refused(store: Store) -> None:
    firsts: list[str] = []
    while len(set(firsts)) == len(firsts):  # 17 images at the most
        number = len(firsts)
        descriptor = image(store, str(number), f"docker.io/library/n{number}:1")
        firsts.append(store.images.manifest(descriptor.digest).config.digest[7])

    with pytest.raises(AmbiguousImage):
        store.images.find(firsts[-1])


def test_what_the_store_does_not_hold_gets_no_name(store: Store) -> None:
    descriptor = image(store, "a", HELLO)
    store.content.remove(descriptor.digest)

    with pytest.raises(Exception, match="no content"):
        store.images.put("docker.io/library/other:1", descriptor)


def test_a_broken_manifest_gets_no_name(store: Store) -> None:
    blob = store.content.put(b"[]")

    with pytest.raises(BadImage):
        store.images.put(
            HELLO,
            Descriptor("application/vnd.oci.image.manifest.v1+json", blob.digest, blob.size),
        )


def test_the_index_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    texts = []
    for order in ("ab", "ba"):
        with Store.open(str(tmp_path / order), overlay="copy", single_id=True) as store:
            for each in order:
                image(store, each, f"docker.io/library/{each}:1")
            texts.append((tmp_path / order / "content/index.json").read_bytes())

    assert texts[0] == texts[1]


def test_the_index_is_an_oci_layout(store: Store) -> None:
    descriptor = image(store, "a", HELLO)

    index = json.loads(Path(store.root, "content/index.json").read_bytes())
    layout = json.loads(Path(store.root, "content/oci-layout").read_bytes())
    assert layout == {"imageLayoutVersion": "1.0.0"}
    assert index["schemaVersion"] == 2
    entry = index["manifests"][0]
    assert entry["digest"] == descriptor.digest
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == HELLO
    assert entry["annotations"]["io.containerd.image.name"] == HELLO


def test_the_signature_changes_with_the_names(store: Store) -> None:
    before = store.images.index_signature()
    image(store, "a", HELLO)
    after = store.images.index_signature()

    assert before != after
    assert store.images.index_signature() == after
    assert index_signature(store.root) == after
    assert index_signature("/nowhere") == ""


def test_names_given_by_many_threads_are_all_there(store: Store) -> None:
    descriptor = image(store, "a", None)
    threads = [
        threading.Thread(target=store.images.put, args=(f"docker.io/library/n{n:02}:1", descriptor))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert names(store) == [f"docker.io/library/n{n:02}:1" for n in range(12)]


def test_names_given_by_two_processes_are_all_there(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    script = (
        "import sys\n"
        "from buildkit_py.store.store import Store\n"
        "from tests.store.tars import add_test_image, file, tar\n"
        "with Store.open(sys.argv[1], overlay='copy', single_id=True) as store:\n"
        "    for n in range(15):\n"
        "        name = f'docker.io/library/{sys.argv[2]}:{n}'\n"
        "        add_test_image(store, tar(file('f', b'%d' % n)), name=name)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, root, each], cwd=os.getcwd())
        for each in "ab"
    ]

    assert [process.wait(60) for process in processes] == [0, 0]
    with Store.open(root, overlay="copy", single_id=True) as store:
        assert len(names(store)) == 30


@pytest.mark.peer("skopeo")
def test_skopeo_reads_the_store_as_it_stands(store: Store) -> None:
    image(store, "a", HELLO)
    image(store, "b", "docker.io/library/other:latest")

    done = subprocess.run(
        ["skopeo", "inspect", f"oci:{store.root}/content:{HELLO}"], capture_output=True, check=True
    )

    assert len(json.loads(done.stdout)["Layers"]) == 1


@pytest.mark.parametrize("damage", [slice(0, 40), slice(0, 0)])
def test_a_damaged_index_is_told_as_ours(store: Store, damage: slice) -> None:
    image(store, "a", HELLO)
    path = Path(store.content.directory, "index.json")
    path.write_bytes(path.read_bytes()[damage])

    with pytest.raises(DamagedIndex, match=r"index.json` is damaged") as caught:
        store.images.list()
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("left", [0.0, 0.5, 0.98])
def test_a_layer_cut_off_in_the_store_is_told_as_ours(store: Store, left: float) -> None:
    content = tar(file("f", os.urandom(5000)))
    manifest, config, _ = add_test_image(store, content, name=HELLO)
    path = Path(store.content.path(manifest.layers[0].digest))
    path.chmod(0o644)
    os.truncate(path, int(path.stat().st_size * left))

    with pytest.raises(DamagedBlob, match=manifest.layers[0].digest) as caught:
        store.snapshots.unpack_image(manifest, config)
    assert caught.value.exit_code == 5


def test_a_layer_that_came_bad_is_its_makers_fault(store: Store) -> None:
    manifest, config, _ = add_test_image(store, b"no tar" * 200, name=HELLO)

    with pytest.raises(BadLayer):
        store.snapshots.unpack_image(manifest, config)
