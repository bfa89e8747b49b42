"""Layers by docker's and OCI's rules."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.core.digest import Digest, sha256
from buildkit_py.store.content import DigestMismatch
from buildkit_py.store.layers.errors import BadLayer
from buildkit_py.store.layers.marks import OWNER
from buildkit_py.store.layers.unpack import Rules, Unpacked, unpack_layer
from tests.store.tars import (
    TIME,
    file,
    folder,
    hard_link,
    link,
    member,
    node,
    pax,
    raw_header,
    tar,
)

ROOT = os.geteuid() == 0
HERE = Rules("copy", single_id=not ROOT)


def unpack(target: Path, layer: bytes, rules: Rules = HERE, **wanted: Any) -> Unpacked:
    target.mkdir(exist_ok=True)
    return unpack_layer(io.BytesIO(layer), str(target), rules, **wanted)


def test_files_have_content_mode_and_time(tmp_path: Path) -> None:
    layer = tar(folder("d", mode=0o1750, mtime=5), file("d/f", b"text", mode=0o4755, mtime=7))

    unpack(tmp_path / "fs", layer)

    made = os.stat(tmp_path / "fs/d/f")
    assert (tmp_path / "fs/d/f").read_bytes() == b"text"
    assert (stat.S_IMODE(made.st_mode), made.st_mtime) == (0o4755, 7)
    above = os.stat(tmp_path / "fs/d")
    assert (stat.S_IMODE(above.st_mode), above.st_mtime) == (0o1750, 5)


def test_the_umask_changes_nothing(tmp_path: Path) -> None:
    layer = tar(folder("d", mode=0o777), file("d/f", mode=0o666), node("p", b"6"))
    before = os.umask(0o077)
    try:
        unpack(tmp_path / "fs", layer)
    finally:
        os.umask(before)

    modes = [stat.S_IMODE(os.stat(tmp_path / "fs" / n).st_mode) for n in ("d", "d/f", "p")]
    assert modes == [0o777, 0o666, 0o600]


@pytest.mark.root
def test_owners_are_the_numbers_of_the_layer(tmp_path: Path) -> None:
    layer = tar(
        folder("d", uid=1, gid=2), file("d/f", b"x", uid=3_000_000, gid=4), link("l", "x", uid=5)
    )

    unpack(tmp_path / "fs", layer)

    owners = [os.lstat(tmp_path / "fs" / n) for n in ("d", "d/f", "l")]
    assert [(o.st_uid, o.st_gid) for o in owners] == [(1, 2), (3_000_000, 4), (5, 0)]


def test_with_a_single_id_owners_are_recorded(tmp_path: Path) -> None:
    layer = tar(folder("d", uid=1, gid=2), file("d/f", b"x", uid=3, gid=4), file("own", b"x"))

    unpack(tmp_path / "fs", layer, Rules("copy", single_id=True))

    assert os.getxattr(tmp_path / "fs/d", OWNER) == b"1:2"
    assert os.getxattr(tmp_path / "fs/d/f", OWNER) == b"3:4"
    assert os.listxattr(tmp_path / "fs/own") == []


def test_attributes_and_capabilities_are_set(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    records = [(b"SCHILY.xattr.user.note", b"a\0b\nc")]
    if ROOT:
        records.append((b"SCHILY.xattr.security.capability", capability))
    layer = tar(pax(records), file("f", b"x", uid=1 if ROOT else 0, mode=0o755))

    unpack(tmp_path / "fs", layer)

    assert os.getxattr(tmp_path / "fs/f", "user.note") == b"a\0b\nc"
    if ROOT:
        assert os.getxattr(tmp_path / "fs/f", "security.capability") == capability


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    layer = tar(file("a", b"x"), hard_link("b", "a"), folder("d"), hard_link("d/c", "./d/../b"))

    unpack(tmp_path / "fs", layer)

    inodes = {os.stat(tmp_path / "fs" / n).st_ino for n in ("a", "b", "d/c")}
    assert len(inodes) == 1


@pytest.mark.parametrize(
    "name", ["x" * 300, "d/" + "y" * 200, "ünï", "\udcff\udcfe", "a\nb"], ids=range(5)
)
def test_long_and_odd_names(name: str, tmp_path: Path) -> None:
    raw = os.fsencode(name)
    if len(raw) > 255 and b"/" not in raw:
        raw = b"d/" * 60 + raw[:200]
    layer = tar(file(raw, b"x"), link(b"l-" + raw[-100:].replace(b"/", b""), b"/" + raw))

    unpack(tmp_path / "fs", layer)

    assert os.stat(os.fsencode(tmp_path / "fs") + b"/" + raw).st_size == 1


def test_gnu_long_names_and_links(tmp_path: Path) -> None:
    long = b"l" * 150
    target = b"t" * 180
    layer = tar(
        member("././@LongLink", b"L", long + b"\0"),
        member("././@LongLink", b"K", target + b"\0"),
        link("short", "short"),
    )

    unpack(tmp_path / "fs", layer)

    assert os.readlink(os.fsencode(tmp_path / "fs") + b"/" + long) == target


def test_ustar_prefix_joins_the_name(tmp_path: Path) -> None:
    layer = tar(raw_header(b"f", b"0", prefix=b"a/b"))

    unpack(tmp_path / "fs", layer)

    assert (tmp_path / "fs/a/b/f").exists()


def test_the_last_entry_of_a_name_counts(tmp_path: Path) -> None:
    layer = tar(
        file("a", b"1"), file("a", b"2"), folder("b"), file("b/x", b""), link("b", "a"),
        file("c", b"3"), folder("c"), file("c/y", b"4"),
    )  # fmt: skip

    unpack(tmp_path / "fs", layer)

    assert (tmp_path / "fs/a").read_bytes() == b"2"
    assert os.readlink(tmp_path / "fs/b") == "a"
    assert (tmp_path / "fs/c/y").read_bytes() == b"4"


def test_a_directory_again_keeps_its_content(tmp_path: Path) -> None:
    layer = tar(folder("d", mode=0o700), file("d/f", b"x"), folder("d", mode=0o755))

    unpack(tmp_path / "fs", layer)

    assert (tmp_path / "fs/d/f").exists()
    assert stat.S_IMODE(os.stat(tmp_path / "fs/d").st_mode) == 0o755


def test_links_on_the_way_are_followed_inside(tmp_path: Path) -> None:
    layer = tar(
        folder("usr"), folder("usr/lib"), link("lib", "usr/lib"), link("abs", "/usr"),
        file("lib/a", b"1"), file("abs/lib/b", b"2"), link("usr/up", "../../../usr/lib/.."),
        file("usr/up/c", b"3"),
    )  # fmt: skip

    unpack(tmp_path / "fs", layer)

    assert sorted(os.listdir(tmp_path / "fs/usr/lib")) == ["a", "b"]
    assert (tmp_path / "fs/usr/c").read_bytes() == b"3"


def test_parents_that_the_tar_leaves_out_are_made(tmp_path: Path) -> None:
    unpack(tmp_path / "fs", tar(file("a/b/c", b"x")))

    assert stat.S_IMODE(os.stat(tmp_path / "fs/a/b").st_mode) == 0o755


def test_parents_that_the_tar_leaves_out_are_like_those_below(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    unpack(lower, tar(folder("a", mode=0o1700, mtime=9), folder("a/b", mode=0o2770)))
    target = tmp_path / "fs"
    target.mkdir()

    unpack_layer(io.BytesIO(tar(file("a/b/c", b"x"))), str(target), HERE, lower=(str(lower),))

    assert stat.S_IMODE(os.stat(target / "a").st_mode) == 0o1700
    assert stat.S_IMODE(os.stat(target / "a/b").st_mode) == 0o2770
    assert os.stat(target / "a").st_mtime == 9


def test_a_hard_link_to_a_layer_below_becomes_a_copy(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    unpack(lower, tar(folder("a"), file("a/f", b"below", mode=0o751, mtime=3)))
    target = tmp_path / "fs"
    target.mkdir()

    unpack_layer(io.BytesIO(tar(hard_link("copy", "a/f"))), str(target), HERE, lower=(str(lower),))

    made = os.stat(target / "copy")
    assert (target / "copy").read_bytes() == b"below"
    assert (stat.S_IMODE(made.st_mode), made.st_mtime) == (0o751, 3)


@pytest.mark.root
def test_whiteouts_become_marks_of_overlay(tmp_path: Path) -> None:
    layer = tar(file(".wh.gone"), folder("d"), file("d/.wh..wh..opq"), file("d/new", b"x"))

    unpack(tmp_path / "fs", layer, Rules("kernel"))

    gone = os.lstat(tmp_path / "fs/gone")
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(tmp_path / "fs/d", "trusted.overlay.opaque") == b"y"


@pytest.mark.root
@pytest.mark.parametrize("whiteout_first", [True, False])
def test_a_whiteout_leaves_what_its_own_layer_brings(whiteout_first: bool, tmp_path: Path) -> None:
    parts = [file(".wh.d"), folder("d") + file("d/new", b"x")]
    layer = tar(*(parts if whiteout_first else reversed(parts)))

    unpack(tmp_path / "fs", layer, Rules("kernel"))

    assert (tmp_path / "fs/d/new").exists()
    assert os.getxattr(tmp_path / "fs/d", "trusted.overlay.opaque") == b"y"


def test_an_opaque_root_hides_everything_below(tmp_path: Path) -> None:
    assert unpack(tmp_path / "fs", tar(file(".wh..wh..opq"), file("a"))).hides_all


@pytest.mark.parametrize(
    "compress",
    [lambda d: d, gzip.compress, bz2.compress, lzma.compress,
     lambda d: gzip.compress(d[:1000]) + gzip.compress(d[1000:]),
     lambda d: gzip.compress(d) + bytes(300)],
    ids="plain gzip bzip2 xz two-members padded".split(),
)  # fmt: skip
def test_layers_are_read_however_they_are_compressed(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    layer = tar(file("f", os.urandom(300_000)), file("g", bytes(300_000)))
    packed = compress(layer)

    done = unpack(
        tmp_path / "fs", packed, diff_id=sha256(layer), digest=sha256(packed), size=len(packed)
    )

    assert done.diff_id == sha256(layer)
    assert done.size == len(layer)
    assert os.stat(tmp_path / "fs/g").st_blocks * 512 < 300_000


@pytest.mark.parametrize("what", ["diff_id", "digest"])
def test_wrong_bytes_are_refused(what: str, tmp_path: Path) -> None:
    layer = gzip.compress(tar(file("f", b"x")))

    with pytest.raises(DigestMismatch, match="sha256:0000"):
        unpack(tmp_path / "fs", layer, HERE, **{what: Digest("sha256:" + "0" * 64)})


def test_bytes_after_the_end_belong_to_the_digest(tmp_path: Path) -> None:
    layer = tar(file("f", b"x")) + bytes(8192)

    assert unpack(tmp_path / "fs", layer, diff_id=sha256(layer)).diff_id == sha256(layer)


def test_gnu_tar_and_its_sparse_files_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as hole:
        for place in range(40):
            hole.seek(place * 1_000_000)
            hole.write(b"data %d" % place)
        hole.truncate(50_000_000)
    for kind in ("gnu", "posix", "posix --sparse-version=0.1", "posix --sparse-version=0.0"):
        done = subprocess.run(
            ["tar", "-C", str(source), "-S", "-c", *f"--format={kind}".split(), "sparse"],
            capture_output=True,
            check=True,
        )
        target = tmp_path / kind.replace(" ", "-")

        unpack(target, done.stdout)

        assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
        assert os.stat(target / "sparse").st_blocks * 512 < 5_000_000


def test_git_archives_global_header_is_skipped(tmp_path: Path) -> None:
    layer = tar(member("pax_global_header", b"g", b"16 comment=abcd\n"), file("f", b"x"))

    unpack(tmp_path / "fs", layer)

    assert os.listdir(tmp_path / "fs") == ["f"]


def test_times_have_fractions_and_may_be_negative(tmp_path: Path) -> None:
    layer = tar(
        pax([(b"mtime", b"12.25")]), file("a"), pax([(b"mtime", b"-3.5")]), file("b"), file("c")
    )

    unpack(tmp_path / "fs", layer)

    times = [os.stat(tmp_path / "fs" / n).st_mtime_ns for n in "abc"]
    assert times == [12_250_000_000, -3_500_000_000, TIME * 1_000_000_000]


def test_what_is_no_tar_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(BadLayer, match="not a tar"):
        unpack(tmp_path / "fs", b"#!/bin/sh\n" * 100)
