"""The way from a reference to one manifest."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.image import INDEX, MANIFEST, BadImage, Descriptor, to_json
from buildkit_py.oci.platform import Platform, parse_platform
from buildkit_py.oci.reference import parse_reference
from buildkit_py.registry.client import Repository
from buildkit_py.registry.errors import Misbehaved, NotFound
from buildkit_py.registry.manifests import NoPlatform, WrongContent, choose, find_manifest
from buildkit_py.registry.transport import Answer, Recorded
from tests.registry.samples import AMD64, ARM64, Sample, digest_of, image, index

BASE = "https://registry.example/v2/a/manifests/"
IMAGE = image(b"one")


def found(
    answers: dict[tuple[str, str], Answer], name: str = "registry.example/a:1"
) -> tuple[Descriptor, list[str]]:
    transport = Recorded(answers)
    repository = Repository(
        parse_reference(name),
        transport,
        environment={"DOCKER_AUTH_CONFIG": "{}"},
        sleep=lambda seconds: None,
    )
    descriptor, data = find_manifest(repository, AMD64)
    assert digest_of(data) == descriptor.digest
    return descriptor, [f"{each.method} {each.url.rpartition('/')[2]}" for each in transport.sent]


def got(sample: Sample, body: bytes | None = None, **headers: str) -> Answer:
    kinds = {
        "Content-Type": sample.media_type,
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return Answer(200, kinds, sample.top if body is None else body)


def entry(platform: str | None, number: int) -> Descriptor:
    made = Descriptor(MANIFEST, digest_of(bytes([number])), number)
    return replace(made, platform=parse_platform(platform) if platform else None)


def chosen(platform: str, *entries: Descriptor) -> int:
    data = {"schemaVersion": 2, "manifests": [each.to_data() for each in entries]}
    return choose(to_json(data), parse_platform(platform), "`x`").size


def test_a_tag_is_asked_for_with_head_and_fetched_by_digest() -> None:
    head = Answer(200, {"Docker-Content-Digest": IMAGE.digest, "Content-Type": MANIFEST})
    answers = {("HEAD", f"{BASE}1"): head, ("GET", f"{BASE}{IMAGE.digest}"): got(IMAGE)}

    descriptor, sent = found(answers)

    assert descriptor == IMAGE.descriptor
    assert sent == ["HEAD 1", f"GET {IMAGE.digest}"]


@pytest.mark.parametrize("head", [Answer(405), Answer(200), Answer(404)])
def test_where_head_is_of_no_use_the_tag_is_fetched(head: Answer) -> None:
    descriptor, _ = found({("HEAD", f"{BASE}1"): head, ("GET", f"{BASE}1"): got(IMAGE)})

    assert descriptor == IMAGE.descriptor


def test_a_digest_needs_no_head_and_wins_over_a_tag() -> None:
    _, sent = found(
        {("GET", f"{BASE}{IMAGE.digest}"): got(IMAGE)}, f"registry.example/a:9@{IMAGE.digest}"
    )

    assert sent == [f"GET {IMAGE.digest}"]


def test_from_an_index_the_platform_is_chosen() -> None:
    both = index((ARM64, image(b"arm", platform=ARM64)), (AMD64, IMAGE))

    descriptor, _ = found(
        {("GET", f"{BASE}1"): got(both), ("GET", f"{BASE}{IMAGE.digest}"): got(IMAGE)}
    )

    assert descriptor == IMAGE.descriptor


def test_other_bytes_than_the_digest_names_are_refused() -> None:
    other = image(b"evil")
    with pytest.raises(WrongContent, match=r"not sha256:.* as was asked for"):
        found({("GET", f"{BASE}{IMAGE.digest}"): got(other)}, f"registry.example/a@{IMAGE.digest}")
    with pytest.raises(WrongContent):
        found({("GET", f"{BASE}1"): got(other, Docker_Content_Digest=IMAGE.digest)})


def test_parameters_of_the_type_are_nothing_to_us() -> None:
    answer = Answer(200, {"Content-Type": f"{MANIFEST}; charset=utf-8"}, IMAGE.top)

    assert found({("GET", f"{BASE}1"): answer})[0].media_type == MANIFEST


def test_header_and_body_must_agree_on_the_type() -> None:
    with pytest.raises(Misbehaved, match="itself says"):
        found({("GET", f"{BASE}1"): Answer(200, {"Content-Type": INDEX}, IMAGE.top)})


def test_a_manifest_that_is_an_index_as_well_is_refused() -> None:
    both = {**json.loads(IMAGE.top), "manifests": []}
    with pytest.raises(BadImage, match="an index as well"):
        found({("GET", f"{BASE}1"): got(IMAGE, json.dumps(both).encode())})


def test_schema_1_is_refused_by_name() -> None:
    with pytest.raises(BadImage, match="`schema 1`"):
        found({("GET", f"{BASE}1"): got(IMAGE, b'{"schemaVersion": 1, "fsLayers": []}')})


def test_what_is_no_image_is_refused() -> None:
    body = b'{"schemaVersion": 2, "mediaType": "application/x"}'
    with pytest.raises(BadImage, match="`application/x` is no container image"):
        found({("GET", f"{BASE}1"): Answer(200, {}, body)})


def test_an_endless_manifest_is_cut_off() -> None:
    with pytest.raises(BadImage, match="larger than"):
        found({("GET", f"{BASE}1"): got(IMAGE, b" " * (5 << 20))})


def test_an_index_in_an_index_in_an_index_ends() -> None:
    inner = index((AMD64, IMAGE))
    answers = {}
    for _ in range(5):
        answers[("GET", f"{BASE}{inner.digest}")] = got(inner)
        entries = [replace(inner.descriptor, platform=AMD64).to_data()]
        top = to_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        inner = Sample(top, INDEX)
    with pytest.raises(BadImage, match="more than 4"):
        found({**answers, ("GET", f"{BASE}1"): got(inner)})


def test_no_such_image_quotes_the_registry() -> None:
    says = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
    with pytest.raises(
        NotFound, match=r"no image `registry.example/a:1` .*MANIFEST_UNKNOWN"
    ) as caught:
        found({("GET", f"{BASE}1"): Answer(404, {}, says)})

    assert isinstance(caught.value, RemoteError)
    assert caught.value.code == "registry/not-found"


def test_the_best_variant_that_runs_is_chosen() -> None:
    arms = [entry("linux/arm/v5", 5), entry("linux/arm/v7", 7), entry("linux/arm/v6", 6)]

    assert chosen("linux/arm/v7", *arms) == 7
    assert chosen("linux/arm/v6", *arms) == 6
    assert chosen("linux/arm64", entry("linux/arm64/v8", 1), entry("linux/arm64", 2)) == 1
    assert chosen("linux/amd64", entry("linux/amd64/v3", 3), entry("linux/amd64", 1)) == 1
    assert chosen("linux/amd64/v3", entry("linux/amd64", 1), entry("linux/amd64/v3", 3)) == 3


def test_an_index_without_platforms_means_its_first_image() -> None:
    assert chosen("linux/amd64", entry(None, 1), entry(None, 2)) == 1


def test_a_missing_platform_is_named_and_so_are_those_there() -> None:
    offered = [entry("linux/s390x", 1), entry("unknown/unknown", 2), entry("linux/arm64", 3)]

    with pytest.raises(NoPlatform, match="`x` is not made for linux/amd64") as caught:
        chosen("linux/amd64", *offered)

    assert caught.value.hint == "it is made for linux/arm64, linux/s390x"


def test_an_entry_with_a_wrong_size_is_refused() -> None:
    wrong = replace(IMAGE.descriptor, size=3, platform=Platform("linux", "amd64"))
    top = to_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [wrong.to_data()]})
    answers = {
        ("GET", f"{BASE}1"): got(Sample(top, INDEX)),
        ("GET", f"{BASE}{IMAGE.digest}"): got(IMAGE),
    }
    with pytest.raises(WrongContent, match="not the size"):
        found(answers)
