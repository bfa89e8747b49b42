"""Pulls over real sockets: from registries that behave, and from some that do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.image import BadImage, Descriptor, Manifest
from buildkit_py.oci.platform import Platform
from buildkit_py.oci.reference import parse_reference
from buildkit_py.registry.errors import Broken, Denied, NotFound, Temporary, Unreachable
from buildkit_py.registry.manifests import NoPlatform, WrongContent
from buildkit_py.registry.pull import pull, resolve
from tests.registry.conftest import Store
from tests.registry.samples import AMD64, ARM64, Sample, digest_of, image, index
from tests.registry.servers import Asked, Handle, Reply, Server, push, ranged, serve
from tests.rootless import TREE

BIG = os.urandom(1_500_000)


def pulled(
    store: Store, address: str, name: str = "a:1", platform: Platform = AMD64
) -> tuple[Descriptor, list[float]]:
    slept: list[float] = []
    reference = parse_reference(f"{address}/{name}")
    return pull(reference, platform, store, sleep=slept.append), slept


def complete(store: Store, sample: Sample) -> bool:
    manifest = Manifest.from_bytes(store.content.read(sample.digest))
    assert [each.digest for each in manifest.layers] == sample.layers
    return all(store.content.has(each.digest) for each in (manifest.config, *manifest.layers))


def nothing_kept(store: Store, address: str) -> bool:
    return store.images.get(f"{address}/a:1") is None


@pytest.mark.peer("docker-registry")
def test_an_image_is_pulled_by_tag_and_by_digest(store: Store, registry: str) -> None:
    sample = image(b"one", b"two", BIG)
    push(registry, "by/tag", "1", sample)

    descriptor, _ = pulled(store, registry, "by/tag:1")
    again, _ = pulled(store, registry, f"by/tag@{sample.digest}")

    assert descriptor == again == sample.descriptor
    assert complete(store, sample)
    assert store.images.get(f"{registry}/by/tag:1") == sample.descriptor
    assert resolve(parse_reference(f"{registry}/by/tag:1"), AMD64) == sample.descriptor


@pytest.mark.peer("docker-registry")
def test_from_an_index_the_wanted_platform_is_pulled(store: Store, registry: str) -> None:
    arm = image(b"arm", platform=ARM64)
    push(registry, "multi", "1", index((AMD64, image(b"amd")), (ARM64, arm)))

    descriptor, _ = pulled(store, registry, "multi:1", ARM64)

    assert descriptor.digest == arm.digest
    assert complete(store, arm)
    with pytest.raises(NoPlatform, match="linux/s390x"):
        pulled(store, registry, "multi:1", Platform("linux", "s390x"))


@pytest.mark.peer("docker-registry")
def test_what_does_not_exist_is_told_in_the_registrys_words(store: Store, registry: str) -> None:
    push(registry, "there", "1", image(b"x"))

    with pytest.raises(NotFound, match="MANIFEST_UNKNOWN"):
        pulled(store, registry, "there:2")
    with pytest.raises(NotFound):
        pulled(store, registry, "not/there:1")
    with pytest.raises(NotFound):
        pulled(store, registry, f"there@{digest_of(b'other')}")


def test_layers_that_are_here_are_not_asked_for(store: Store) -> None:
    sample = image(b"shared", b"new")
    store.content.put(sample.blobs[sample.layers[0]])
    seen: dict[Digest, list[int]] = {}
    lock = threading.Lock()

    def progress(layer: Descriptor, count: int) -> None:
        with lock:
            seen.setdefault(layer.digest, []).append(count)

    with Server(serve(sample)) as server:
        reference = parse_reference(f"{server.address}/a:1")
        pull(reference, AMD64, store, progress=progress)
        pull(reference, AMD64, store)

        blobs = [each.path.rpartition("/")[2] for each in server.paths("/blobs/")]
    assert sorted(blobs) == sorted(set(sample.blobs) - {sample.layers[0]})
    assert {digest: counts[-1] for digest, counts in seen.items()} == {
        digest: len(sample.blobs[digest]) for digest in sample.layers
    }


def misbehaving(sample: Sample, blob: Digest, answer: Handle) -> Handle:
    """A registry that does as it should but for one blob."""
    honest = serve(sample)
    return lambda asked: answer(asked) if asked.path.endswith(blob) else honest(asked)


def test_wrong_bytes_of_the_right_size_are_refused(store: Store) -> None:
    sample = image(b"one", b"two")
    data = sample.blobs[sample.layers[1]]
    evil = bytes([data[0] ^ 1]) + data[1:]

    with (
        Server(misbehaving(sample, sample.layers[1], lambda asked: Reply(200, {}, evil))) as server,
        pytest.raises(WrongContent, match="sent other bytes"),
    ):
        pulled(store, server.address)

    assert not store.content.has(digest_of(evil))
    assert not store.content.has(sample.layers[1])
    assert nothing_kept(store, server.address)


@pytest.mark.parametrize("length", [None, -1])
def test_a_blob_longer_than_its_descriptor_is_cut_off(store: Store, length: int | None) -> None:
    sample = image(b"one")
    data = sample.blobs[sample.layers[0]] + b"and more" * 100_000

    with (
        Server(
            misbehaving(sample, sample.layers[0], lambda a: Reply(200, {}, data, length=length))
        ) as server,
        pytest.raises(WrongContent),
    ):
        pulled(store, server.address)

    assert nothing_kept(store, server.address)


def test_a_short_blob_is_an_error(store: Store) -> None:
    sample = image(b"one")

    with (
        Server(
            misbehaving(sample, sample.layers[0], lambda asked: Reply(200, {}, b"ab"))
        ) as server,
        pytest.raises(WrongContent, match="has 2 bytes"),
    ):
        pulled(store, server.address)


def test_a_broken_transfer_goes_on_where_it_broke(store: Store) -> None:
    sample = image(BIG)
    blob = sample.layers[0]
    data = sample.blobs[blob]
    breaks = [500_000, 300_000, None]

    def answer(asked: Asked) -> Reply:
        return replace(ranged(asked, data), cut=breaks.pop(0))

    with Server(misbehaving(sample, blob, answer)) as server:
        _, slept = pulled(store, server.address)
        ranges = [each.headers.get("range") for each in server.paths(blob)]

    assert complete(store, sample)
    assert ranges == [None, "bytes=500000-", "bytes=800000-"]
    assert slept == [0.5, 0.5]


def test_a_server_without_ranges_is_read_anew(store: Store) -> None:
    sample = image(BIG)
    blob = sample.layers[0]
    cuts = [700_000, None]

    def answer(asked: Asked) -> Reply:
        return Reply(200, {}, sample.blobs[blob], cut=cuts.pop(0))

    with Server(misbehaving(sample, blob, answer)) as server:
        pulled(store, server.address)

    assert complete(store, sample)


def test_another_range_than_asked_for_is_refused(store: Store) -> None:
    sample = image(BIG)
    blob = sample.layers[0]

    def answer(asked: Asked) -> Reply:
        if "range" in asked.headers:
            return Reply(206, {"Content-Range": "bytes 0-9/10"}, b"0123456789")
        return Reply(200, {}, sample.blobs[blob], cut=10)

    with (
        Server(misbehaving(sample, blob, answer)) as server,
        pytest.raises(RemoteError, match="another range"),
    ):
        pulled(store, server.address)


def test_a_transfer_that_never_gets_on_is_given_up(store: Store) -> None:
    sample = image(BIG)

    def answer(asked: Asked) -> Reply:
        return replace(ranged(asked, sample.blobs[sample.layers[0]]), cut=0)

    with (
        Server(misbehaving(sample, sample.layers[0], answer)) as server,
        pytest.raises(Broken),
    ):
        pulled(store, server.address)

    assert len(server.paths(sample.layers[0])) == 5


def test_breakdowns_are_waited_out(store: Store) -> None:
    sample = image(b"one")
    honest = serve(sample)
    troubles = [Reply(503), Reply(429, {"Retry-After": "3"}), Reply(500)]

    def handle(asked: Asked) -> Reply:
        return troubles.pop() if troubles and asked.path != "/v2/" else honest(asked)

    with Server(handle) as server:
        _, slept = pulled(store, server.address)

    assert complete(store, sample)
    assert slept == [0.5, 3.0, 2.0]


def test_one_bad_layer_stops_the_others(store: Store) -> None:
    sample = image(b"one", BIG)
    stuck = threading.Event()
    big = sample.layers[1]

    def handle(asked: Asked) -> Reply:
        if asked.path.endswith(sample.layers[0]):
            return Reply(404)
        if asked.path.endswith(big):
            stuck.wait(20)
        return serve(sample)(asked)

    with Server(handle) as server:
        with pytest.raises(RemoteError, match="lacks sha256") as caught:
            pull(parse_reference(f"{server.address}/a:1"), AMD64, store)
        waited = not stuck.is_set()
        stuck.set()

    assert caught.value.code == "registry/missing-blob"
    assert waited
    assert not store.content.has(big)


def guarded(sample: Sample, tokens: list[str], realm: list[str]) -> Handle:
    """A registry that wants the first of `tokens`."""
    honest = serve(sample)

    def handle(asked: Asked) -> Reply:
        if asked.headers.get("authorization") != f"Bearer {tokens[0]}":
            challenge = f'Bearer realm="{realm[0]}",service="s"'
            return Reply(401, {"WWW-Authenticate": challenge})
        return honest(asked)

    return handle


def test_an_anonymous_token_opens_the_registry_and_is_renewed_in_the_middle(store: Store) -> None:
    sample = image(b"one", b"two", b"three")
    config = Manifest.from_bytes(sample.top).config.digest
    tokens, realm = ["first"], [""]
    inner = guarded(sample, tokens, realm)

    def handle(asked: Asked) -> Reply:
        reply = inner(asked)
        # The config comes alone, before the layers: all of those find their token outdated.
        if asked.path.endswith(config) and reply.status == 200:
            tokens[0] = "second"
        return reply

    def give(asked: Asked) -> Reply:
        return Reply(200, {}, json.dumps({"token": tokens[0], "expires_in": 300}).encode())

    with Server(handle) as server, Server(give) as token_server:
        realm[0] = f"http://{token_server.address}/token"
        pulled(store, server.address)

    assert complete(store, sample)
    assert token_server.asked[0].path == "/token?service=s&scope=repository%3Aa%3Apull"
    assert len(token_server.asked) == 2
    assert "authorization" not in token_server.asked[0].headers


def test_credentials_of_the_configuration_go_to_the_token_server_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = image(b"one")
    realm = [""]

    def give(asked: Asked) -> Reply:
        if asked.headers.get("authorization") != "Basic bWU6cGFzcw==":
            return Reply(401, {}, b"who are you")
        return Reply(200, {}, b'{"token": "t"}')

    with Server(guarded(sample, ["t"], realm)) as server, Server(give) as token_server:
        realm[0] = f"http://{token_server.address}/token"
        with pytest.raises(Denied, match="who are you"):
            pulled(store, server.address)
        config = {"auths": {server.address: {"auth": "bWU6cGFzcw=="}}}
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps(config))
        pulled(store, server.address)

    assert complete(store, sample)
    assert {each.headers.get("authorization") for each in server.asked} == {None, "Bearer t"}


def test_a_redirect_to_another_port_carries_no_token(store: Store) -> None:
    sample = image(b"one")
    realm, storage = [""], [""]
    inner = guarded(sample, ["t"], realm)

    def handle(asked: Asked) -> Reply:
        reply = inner(asked)
        if "/blobs/" in asked.path and reply.status == 200:
            return Reply(307, {"Location": f"http://{storage[0]}{asked.path}"})
        return reply

    with (
        Server(handle) as server,
        Server(serve(sample)) as blobs,
        Server(lambda asked: Reply(200, {}, b'{"token": "t"}')) as token_server,
    ):
        realm[0], storage[0] = f"http://{token_server.address}/token", blobs.address
        pulled(store, server.address)

    assert complete(store, sample)
    assert len(blobs.asked) == 2
    assert all("authorization" not in each.headers for each in blobs.asked)


def test_a_config_for_another_platform_stops_the_pull_before_any_layer(store: Store) -> None:
    sample = image(b"one", platform=ARM64)

    with Server(serve(sample)) as server, pytest.raises(NoPlatform, match="made for linux/arm64"):
        pulled(store, server.address)

    assert not store.content.has(sample.layers[0])


def test_a_config_that_names_other_layers_is_refused(store: Store) -> None:
    one, two = image(b"one"), image(b"one", b"two")
    mixed = replace(Manifest.from_bytes(one.top), config=Manifest.from_bytes(two.top).config)
    top = mixed.to_bytes()
    media_type = one.media_type
    sample = Sample(top, media_type, one.blobs | two.blobs, {digest_of(top): (media_type, top)})

    with (
        Server(serve(sample)) as server,
        pytest.raises(BadImage, match=r"has 1 layers, .* names 2"),
    ):
        pulled(store, server.address)


def test_nobody_there_is_told_apart_from_a_refusal(store: Store) -> None:
    with Server(lambda asked: Reply(403)) as server, pytest.raises(Denied):
        pulled(store, server.address)

    with pytest.raises(Unreachable, match="cannot be reached: connection refused") as caught:
        pulled(store, server.address)

    assert caught.value.code == "registry/unreachable"


def test_resolve_asks_for_no_blob_and_retries(store: Store) -> None:
    sample = image(b"one")

    with Server(serve(sample)) as server:
        assert resolve(parse_reference(f"{server.address}/a:1"), AMD64) == sample.descriptor

    assert server.paths("/blobs/") == []


def test_too_many_requests_is_an_error_of_its_own(store: Store) -> None:
    reply = Reply(429, {"Retry-After": "3600"}, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')
    with (
        Server(lambda asked: reply if "manifests" in asked.path else Reply(200)) as server,
        pytest.raises(Temporary, match="too many requests") as caught,
    ):
        pulled(store, server.address)

    assert caught.value.code == "registry/too-many-requests"


PULL = """
import sys
from buildkit_py.oci.platform import parse_platform
from buildkit_py.oci.reference import parse_reference
from buildkit_py.registry.pull import pull
from buildkit_py.store.store import Store
with Store.open(sys.argv[1], overlay="copy") as store:
    pull(parse_reference(sys.argv[2]), parse_platform("linux/amd64"), store)
"""


def test_ctrl_c_ends_a_pull_that_waits_for_a_silent_registry(tmp_path: Path) -> None:
    sample = image(b"one", b"two")
    asked, silent = threading.Event(), threading.Event()
    honest = serve(sample)

    def handle(request: Asked) -> Reply:
        if request.path.endswith(tuple(sample.layers)):
            asked.set()
            silent.wait(60)
        return honest(request)

    with Server(handle) as server:
        root = str(tmp_path / "pulled")
        child = subprocess.Popen(
            [sys.executable, "-c", PULL, root, f"{server.address}/a:1"],
            cwd=TREE,
            stderr=subprocess.PIPE,
        )
        try:
            assert asked.wait(30)
            child.send_signal(signal.SIGINT)
            _, complaint = child.communicate(timeout=20)
        finally:
            silent.set()
            child.kill()

    assert b"KeyboardInterrupt" in complaint
    assert list((tmp_path / "pulled/tmp").iterdir()) == []
