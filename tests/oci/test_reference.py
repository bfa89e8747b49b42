"""Names of images, as docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.oci.reference import BadReference, Reference, parse_reference

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("me/app", "docker.io/me/app:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("docker.io/me/app:1", "docker.io/me/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.example/a/b/c:v1.0-rc_1", "registry.example/a/b/c:v1.0-rc_1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("LOCALhost/app", "LOCALhost/app:latest"),
        ("a.b/c", "a.b/c:latest"),
        ("a-b__c/d.e---f", "docker.io/a-b__c/d.e---f:latest"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}"),
        (f"r.example:1/a:2@{DIGEST}", f"r.example:1/a:2@{DIGEST}"),
    ],
)
def test_the_full_name_of_what_people_write(text: str, name: str) -> None:
    reference = parse_reference(text)

    assert reference.name == name
    assert parse_reference(reference.name) == reference
    assert parse_reference(reference.familiar) == reference


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the repository is missing"),
        ("/a", "invalid"),
        ("a//b", "invalid repository"),
        ("Debian", "lower case"),
        ("registry.example/", "the repository is missing"),
        ("a:", "invalid tag"),
        ("a:.x", "invalid tag"),
        ("a:x y", "invalid tag"),
        (f"a:{'x' * 129}", "invalid tag"),
        ("a@sha256:12", "a digest is"),
        ("a@", "a digest is"),
        ("a..b", "invalid repository"),
        ("a___b", "invalid repository"),
        ("a-/b", "invalid repository"),
        ("a._b", "invalid repository"),
        ("a b", "invalid repository"),
        (HEX, "64 hexadecimal"),
        (f"a/{'b' * 260}", "longer than 255"),
        ("a.example/../b", "invalid repository"),
        ("a_b.example/c", "invalid registry"),
        ("a.example:x/c", "invalid registry"),
        ("a.example:/c", "invalid registry"),
        ("-a.example/c", "invalid registry"),
        ("a$.example/c", "invalid registry"),
        ("[::1/c", "invalid registry"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadReference) as caught:
        parse_reference(text)

    assert reason in caught.value.message
    assert caught.value.exit_code == 2


@given(st.text("aZ0._-:/@[]#? \n", max_size=20))
def test_any_text_is_a_name_that_reads_back_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except BadReference:
        return

    assert parse_reference(reference.name) == reference
    assert not set(reference.name) & set(" \n#?")
    assert ".." not in reference.repository


def test_a_digest_may_be_added() -> None:
    reference = Reference("docker.io", "library/debian", "12").with_digest(
        parse_reference(f"x@{DIGEST}").digest  # type: ignore[arg-type]
    )

    assert reference.name == f"docker.io/library/debian:12@{DIGEST}"
