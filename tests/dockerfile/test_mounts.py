"""`RUN --mount`: options, defaults and every wrong combination."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit_py.graph import ops
from tests.dockerfile.lowering import complaint, lowered, warnings


def mounts(*written: str, before: str = "", **request: Any) -> tuple[ops.Mount, ...]:
    flags = " ".join(f"--mount={each}" for each in written)
    op = lowered(f"FROM x AS a\nFROM x\n{before}\nRUN {flags} true", **request).root.op
    assert isinstance(op, ops.Run)
    return op.mounts


def mount(written: str, before: str = "", **request: Any) -> ops.Mount:
    (made,) = mounts(written, before=before, **request)
    return made


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("target=/a", ops.Mount("bind", "/a", 1, read_only=True)),
        ("type=bind,dst=/a,src=b/../c", ops.Mount("bind", "/a", 1, source="/c", read_only=True)),
        ("TYPE=Bind,DESTINATION=/a,rw", ops.Mount("bind", "/a", 1)),
        ("target=/a,readwrite=false", ops.Mount("bind", "/a", 1, read_only=True)),
        ("target=/a,ro=0", ops.Mount("bind", "/a", 1)),
        ("from=a,target=/a", ops.Mount("bind", "/a", 1, read_only=True)),
        ("type=tmpfs,target=/a", ops.Mount("tmpfs", "/a")),
        ("target=/a,size=1.5k,type=tmpfs", ops.Mount("tmpfs", "/a", size_bytes=1536)),
        ("type=tmpfs,target=/a,size=2GiB", ops.Mount("tmpfs", "/a", size_bytes=2 << 30)),
        ("type=cache,target=/a/", ops.Mount("cache", "/a", id="/a", mode=0o755)),
        (
            "type=cache,target=/a,id=b,sharing=LOCKED,mode=0700,uid=1,gid=2,ro",
            ops.Mount(
                "cache",
                "/a",
                id="b",
                sharing="locked",
                mode=0o700,
                uid=1,
                gid=2,
                read_only=True,
            ),
        ),
        (
            "type=cache,target=/a,from=a,source=s",
            ops.Mount("cache", "/a", 1, source="/s", id="/a", mode=0o755),
        ),
        (
            "type=secret,id=dir/s",
            ops.Mount("secret", "/run/secrets/s", id="dir/s", mode=0o400, read_only=True),
        ),
        (
            "type=secret,target=/etc/key,required=true,mode=0440,uid=5",
            ops.Mount(
                "secret",
                "/etc/key",
                id="key",
                mode=0o440,
                uid=5,
                required=True,
                read_only=True,
            ),
        ),
        (
            "type=secret,source=s,env=S",
            ops.Mount("secret", "", id="s", env="S", mode=0o400, read_only=True),
        ),
        (
            "type=ssh,required",
            ops.Mount(
                "ssh",
                "/run/buildkit/ssh_agent.0",
                id="default",
                mode=0o600,
                required=True,
                read_only=True,
            ),
        ),
        ("'\"target=/a\"'", ops.Mount("bind", "/a", 1, read_only=True)),
    ],
)
def test_a_mount_is_read(written: str, expected: ops.Mount) -> None:
    assert mount(written) == expected


def test_targets_are_relative_to_the_working_directory() -> None:
    assert mount("target=sub", "WORKDIR /w").target == "/w/sub"
    assert mount("target=.", "WORKDIR /w").target == "/w"
    assert mount("type=cache,target=sub", "WORKDIR /w").target == "/w/sub"


def test_every_value_but_from_is_expanded() -> None:
    made = mount("type=$T,target=${D}/x,id=$D", "ARG T=cache D=/d")

    assert (made.type, made.target, made.id) == ("cache", "/d/x", "/d")


def test_a_namespace_keeps_caches_apart() -> None:
    given = {"BUILDKIT_CACHE_MOUNT_NS": "team"}

    assert mount("type=cache,target=/a", build_args=given).id == "team//a"
    assert mount("type=cache,target=/a,id=b", build_args=given).id == "team/b"


def test_sockets_are_numbered_and_inputs_counted() -> None:
    made = mounts("type=ssh", "target=/a", "type=ssh,id=b", "from=a,target=/c")

    assert [each.target[-1] for each in made] == ["0", "a", "1", "c"]
    assert [each.input for each in made] == [None, 1, None, 2]


def test_what_a_mount_reads_is_an_input() -> None:
    made = lowered("FROM x AS a\nFROM x\nRUN --mount=from=a,source=/s,target=/t true")

    assert made.root.inputs[1].select == ("/s",)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("type=bnd,target=/a", "unsupported mount type `bnd`"),
        ("target=/a,size=1m", "`size` is not for mounts of type `bind`"),
        ("type=cache,target=/a,size=1m", "`size` is not for mounts of type `cache`"),
        ("target=/a,required", "`required` is not for mounts of type `bind`"),
        ("type=tmpfs,target=/a,sharing=shared", "`sharing` is not for mounts of type `tmpfs`"),
        ("type=cache,target=/a,sharing=open", "unsupported sharing `open`"),
        ("target=/a,mode=0700", "`mode` is not for mounts of type `bind`"),
        ("type=tmpfs,target=/a,uid=1", "`uid` is not for mounts of type `tmpfs`"),
        ("type=tmpfs,target=/a,gid=1", "`gid` is not for mounts of type `tmpfs`"),
        ("type=cache,target=/a,uid=x", "invalid value for `uid`: `x`"),
        ("type=cache,target=/a,mode=8", "invalid value for `mode`: `8`"),
        ("type=cache,target=/a,gid=4294967296", "invalid value for `gid`: `4294967296`"),
        ("type=tmpfs,target=/a,size=big", "invalid value for `size`: `big`"),
        ("target=/a,ro=maybe", "invalid value for `readonly`: `maybe`"),
        ("target=/a,ro,rw", "`readonly` and `readwrite` contradict each other"),
        ("target=/a,targit=/b", "unexpected key `targit`"),
        ("target", "`target` needs a value: `target=…`"),
        ("target=/", "invalid mount target `/`"),
        ("type=bind", "invalid mount target `/`"),
        ("type=secret", "a secret mount needs an `id` or a `target`"),
        ("type=secret,id=a,source=b", "a secret mount has `id` or `source`, not both"),
        ("type=secret,id=a,from=b", "a secret mount has no `from`"),
        ("type=secret,id=a,sharing=shared", "`sharing` is not for mounts of type `secret`"),
        ("type=ssh,source=a", "an ssh mount has no `source`"),
        ("from=$A,target=/a", "`from` of a mount cannot hold a variable"),
        ("'\"target=/a'", "broken quotes"),
    ],
)
def test_a_wrong_mount_is_refused(written: str, message: str) -> None:
    assert message in complaint(f"FROM x\nRUN --mount={written} true")


def test_a_wrong_key_is_drawn_with_a_suggestion() -> None:
    assert (
        complaint("FROM x\nRUN --mount=type=cache,targit=/a true")
        == """\
error[dockerfile/bad-mount]: unexpected key `targit` in `--mount=type=cache,targit=/a`
 --> Dockerfile:2:5
  |
2 | RUN --mount=type=cache,targit=/a true
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^

hint: did you mean `target`?"""
    )


def test_a_source_that_means_nothing_is_warned_of() -> None:
    drawn = warnings("FROM x\nRUN --mount=type=tmpfs,target=/a,from=y true")

    assert "`from` and `source` mean nothing here" in drawn
