"""Manifests and configs: written as BuildKit writes them, read with distrust."""

from __future__ import annotations

import hashlib
import json

import pytest

from buildkit_py.core.digest import Digest
from buildkit_py.oci.image import (
    CONFIG,
    LAYER_GZIP,
    MOST_METADATA_BYTES,
    BadImage,
    ContainerConfig,
    Descriptor,
    Healthcheck,
    History,
    ImageConfig,
    Manifest,
    chain_ids,
    from_json,
    to_json,
)
from buildkit_py.oci.platform import Platform

DIGEST = Digest("sha256:" + "ab" * 32)
AMD64 = Platform("linux", "amd64")


def test_json_is_compact_and_escaped_as_go_does_it() -> None:
    assert to_json({"b": "<é>&", "a": [1, None]}) == (
        b'{"b":"\\u003c\xc3\xa9\\u003e\\u0026","a":[1,null]}'
    )


def test_bytes_that_are_no_text_are_a_sign_as_go_has_it() -> None:
    echo = b"echo \xff\xfe".decode("utf-8", "surrogateescape")

    written = to_json({"created_by": echo})

    assert written == b'{"created_by":"echo \\ufffd\\ufffd"}'
    assert from_json(written, "config") == {"created_by": "echo \ufffd\ufffd"}
    assert from_json(b'{"a":"\xff"}', "config") == {"a": "\ufffd"}


def test_a_manifest_reads_back() -> None:
    manifest = Manifest(
        Descriptor(CONFIG, DIGEST, 5),
        (Descriptor(LAYER_GZIP, DIGEST, 7, {"k": "v"}),),
        annotations={"a": "b"},
    )

    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def test_a_config_reads_back_with_what_we_do_not_know() -> None:
    config = ImageConfig(
        Platform("linux", "arm", "v7"),
        ContainerConfig(
            user="1000",
            exposed_ports=("80/tcp",),
            env=("A=b",),
            entrypoint=(),
            cmd=("sh",),
            volumes=("/v",),
            working_dir="/w",
            labels={"l": "m"},
            stop_signal="SIGTERM",
            healthcheck=Healthcheck(("CMD", "true"), interval=5_000_000_000, retries=3),
            on_build=("RUN x",),
            shell=("sh", "-c"),
            extra={"Unknown": 1},
        ),
        created="2024-01-01T00:00:00Z",
        diff_ids=(DIGEST,),
        history=(History(created_by="RUN x", empty_layer=True),),
        extra={"os.version": "9"},
    )

    assert ImageConfig.from_bytes(config.to_bytes()) == config


def test_nothing_and_empty_differ_where_docker_tells_them_apart() -> None:
    none = json.loads(ImageConfig(AMD64, ContainerConfig()).to_bytes())["config"]
    empty = json.loads(ImageConfig(AMD64, ContainerConfig(entrypoint=(), cmd=())).to_bytes())

    assert none == {}
    assert empty["config"] == {"Entrypoint": [], "Cmd": []}


def test_the_keys_of_a_config_are_sorted() -> None:
    keys = list(json.loads(ImageConfig(AMD64, created="x", author="y").to_bytes()))

    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"digest": "sha256:12", "size": 1},
        {"digest": "../../etc/passwd", "size": 1},
        {"digest": DIGEST},
        {"digest": DIGEST, "size": -1},
        {"digest": DIGEST, "size": True},
        {"digest": DIGEST, "size": "1"},
        {"digest": DIGEST, "size": 1, "mediaType": 5},
    ],
)
def test_a_descriptor_that_cannot_be_trusted_is_refused(data: object) -> None:
    with pytest.raises(BadImage):
        Descriptor.from_data(data)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b" " * (MOST_METADATA_BYTES + 1)]
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage, match="the manifest is"):
        from_json(data, "manifest")


def test_a_diff_id_must_be_a_digest() -> None:
    bad = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:zz"]}}

    with pytest.raises(BadImage, match="diff id"):
        ImageConfig.from_bytes(to_json(bad))


def test_chain_ids_follow_the_specification() -> None:
    one, two = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)

    expected = hashlib.sha256(f"{one} {two}".encode()).hexdigest()
    assert chain_ids((one, two)) == (one, f"sha256:{expected}")
    assert chain_ids(()) == ()


@pytest.mark.parametrize(
    "field",
    ['"history": 5', '"history": [{"created": 5}]', '"rootfs": {"diff_ids": 5}', '"created": {}'],
)
def test_a_field_of_a_wrong_kind_is_no_mistake_of_ours(field: str) -> None:
    with pytest.raises(BadImage):
        ImageConfig.from_bytes(b"{%s}" % field.encode())


def test_half_a_character_becomes_a_sign() -> None:
    data = b'{"config": {"Labels": {"a": "\\ud800", "b": "\\ud83d\\ude00"}}}'

    config = ImageConfig.from_bytes(data)

    assert config.config.labels == {"a": "?", "b": "\U0001f600"}
    assert config.to_bytes()
