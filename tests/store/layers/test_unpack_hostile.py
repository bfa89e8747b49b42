"""Layers that try to leave their snapshot are refused or harmless: the world stays the same."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildkit_py.core.errors import BuildkitError, HostError
from buildkit_py.store.layers.errors import BadLayer, LayerTooLarge
from buildkit_py.store.layers.marks import Overlay
from buildkit_py.store.layers.tar_write import END
from buildkit_py.store.layers.unpack import Rules, unpack_layer
from tests.store.tars import (
    file,
    folder,
    hard_link,
    link,
    member,
    node,
    pax,
    raw_header,
    tar,
    world,
)

ROOT = os.geteuid() == 0
OVERLAYS: list[Overlay] = ["kernel", "copy"] if ROOT else ["copy"]


@dataclass(frozen=True)
class Attack:
    """members use `{outside}` for the directory that must not change; refused: what is raised."""

    name: str
    members: tuple[bytes, ...]
    refused: type[BuildkitError] | None


def refused(name: str, *members: bytes, error: type[BuildkitError] = BadLayer) -> Attack:
    return Attack(name, members, error)


def harmless(name: str, *members: bytes) -> Attack:
    return Attack(name, members, None)


OUT = b"{outside}"
SPARSE = b"GNU.sparse."

ATTACKS = [
    refused("parent", file("../evil", b"x")),
    refused("parent in the middle", file("a/../../evil", b"x")),
    refused("many parents", file("../" * 40 + "evil", b"x")),
    refused("directory above", folder("../evil")),
    refused("link above", link("../evil", "x")),
    refused("only parents", folder("..")),
    harmless("absolute name", file(b"/" + OUT + b"/evil", b"x")),
    harmless("absolute directory", folder(b"/" + OUT, mode=0o777)),
    harmless("link out, then write through it", link("a", OUT), file("a/evil", b"x")),
    harmless("link up, then write through it", link("a", "../../.."), file("a/evil", b"x")),
    harmless("link to /, then write", link("a", "/"), file(b"a/" + OUT + b"/evil", b"x")),
    harmless(
        "chain of links", link("a", "b"), link("b", "c"), link("c", OUT), file("a/evil", b"x")
    ),
    harmless("link as file, then the file", link("a", OUT + b"/victim"), file("a", b"evil")),
    harmless(
        "directory, replaced by a link, then write",
        folder("a"),
        file("a/x", b"x"),
        link("a", OUT),
        file("a/evil", b"x"),
        file("a/victim", b"x"),
    ),
    harmless(
        "deep directory replaced above",
        file("a/b/c/x", b"x"),
        link("a", OUT),
        file("a/b/c/evil", b"x"),
    ),
    harmless("link out, then directory with a mode", link("a", OUT), folder("a", mode=0o777)),
    refused("loop of links", link("a", "b"), link("b", "a"), file("a/x", b"x")),
    refused("link to itself", link("a", "a"), file("a/x", b"x")),
    refused("hard link out", hard_link("a", b"../../outside/victim")),
    refused("absolute hard link", hard_link("a", b"/" + OUT + b"/victim")),
    refused("hard link through a link", link("l", OUT), hard_link("a", "l/victim")),
    harmless("hard link to a link out", link("l", OUT + b"/victim"), hard_link("a", "l")),
    harmless(
        "hard link to a link out, then write",
        link("l", OUT + b"/victim"),
        hard_link("a", "l"),
        file("a", b"evil"),
    ),
    refused("hard link to a directory", folder("d"), hard_link("a", "d")),
    refused("hard link to nothing", hard_link("a", "nothing")),
    refused("hard link to the root", hard_link("a", "/")),
    refused("hard link replaces its target", file("d/f", b"x"), hard_link("d", "d/f")),
    harmless("hard link to itself", file("a", b"x"), hard_link("a", "a")),
    refused("whiteout of ..", file("a/.wh...", b"")),
    refused("whiteout of .", file(".wh..", b"")),
    refused("whiteout of nothing", file(".wh.", b"")),
    harmless("whiteout through a link", link("a", OUT), file("a/.wh.victim", b"")),
    harmless("opaque through a link", link("a", OUT), file("a/.wh..wh..opq", b"")),
    refused("file beneath a whiteout", file(".wh.a/b", b"x")),
    harmless("notes of AUFS", file(".wh..wh.plnk/1.2", b"x"), file(".wh..wh.aufs", b"")),
    refused("hard link to a whiteout", file(".wh.a", b""), hard_link("b", ".wh.a")),
    refused("overlay's own whiteout", node("a", b"3", 0, 0)),
    refused("device number too large", node("a", b"3", 1 << 13, 0)),
    refused("file under a file", file("a", b"x"), file("a/b", b"x")),
    refused("name with a zero byte", pax([(b"path", b"a\0b")]), file("x", b"x")),
    harmless("name with a line end", file("a\nb", b"x")),
    refused("PAX path above", pax([(b"path", b"../evil")]), file("x", b"x")),
    refused("PAX link above", pax([(b"linkpath", b"../../outside/victim")]), hard_link("x", "y")),
    refused("GNU name above", member("././@LongLink", b"L", b"../evil\0"), file("x", b"x")),
    refused(
        "sparse name above",
        pax(
            [
                (SPARSE + b"major", b"1"),
                (SPARSE + b"minor", b"0"),
                (SPARSE + b"name", b"../evil"),
                (SPARSE + b"realsize", b"0"),
            ]
        ),
        file("x", b"0\n".ljust(512, b"\0")),
    ),
    refused("very long name", pax([(b"path", b"a/" * 4000)]), file("x", b"x")),
    refused("huge PAX header", raw_header(b"x", b"x", size=b"\x80" + b"\0" * 6 + b"\x10" * 5)),
    refused("huge long name", raw_header(b"x", b"L", size=b"77777777777\0")),
    refused("PAX length wrong", pax([], raw=b"99 path=x\n"), file("x")),
    refused("PAX length enormous", pax([], raw=b"9" * 4000 + b" path=x\n"), file("x")),
    refused("PAX without key", pax([], raw=b"5 =x\n"), file("x")),
    refused("PAX length zero", pax([], raw=b"0 a=b\n"), file("x")),
    refused("time beyond all time", pax([(b"mtime", b"9" * 19)]), file("x")),
    refused("time is no number", pax([(b"mtime", b"1.x")]), file("x")),
    refused("negative size", raw_header(b"x", b"0", size=b"\xff" * 12)),
    refused("size above 2^63", raw_header(b"x", b"0", size=b"\x80" + b"\xff" * 11)),
    refused("PAX size not a number", pax([(b"size", b"-1")]), file("x")),
    refused("size beyond the end", raw_header(b"x", b"0", size=b"00077777777\0")),
    refused("owner impossible", file("x", b"x", uid=1 << 32)),
    refused("owner -1", file("x", b"x", uid=0xFFFFFFFF)),
    refused("checksum wrong", b"x" * 512),
    refused("unknown type", raw_header(b"x", b"Z")),
    refused("one zero block, then more", bytes(512) + file("x", b"x")),
    refused("extended header, then the end", pax([(b"path", b"x")])),
    refused(
        "sparse map overlaps",
        pax(
            [
                (SPARSE + b"map", b"0,10,5,10"),
                (SPARSE + b"realsize", b"100"),
                (SPARSE + b"major", b"0"),
                (SPARSE + b"minor", b"1"),
            ]
        ),
        file("x", b"x" * 20),
    ),
    refused(
        "sparse map outside",
        pax(
            [
                (SPARSE + b"map", b"90,20"),
                (SPARSE + b"size", b"100"),
                (SPARSE + b"major", b"0"),
                (SPARSE + b"minor", b"1"),
            ]
        ),
        file("x", b"x" * 20),
    ),
    refused(
        "sparse map counts too much",
        pax([(SPARSE + b"major", b"1"), (SPARSE + b"minor", b"0"), (SPARSE + b"realsize", b"100")]),
        file("x", b"99999999\n".ljust(512, b"\0")),
    ),
    refused(
        "old sparse map without end",
        raw_header(b"x", b"S", size=b"00000000000\0", extended=b"\1")
        + (bytes(504) + b"\1" + bytes(7)) * 2100,
    ),
    refused(
        "sparse of 8 EiB",
        pax(
            [
                (SPARSE + b"map", b""),
                (SPARSE + b"size", b"%d" % ((1 << 63) - 1)),
                (SPARSE + b"major", b"0"),
                (SPARSE + b"minor", b"1"),
            ]
        ),
        file("x"),
        error=HostError,
    ),
    harmless("deep tree", file("d/" * 300 + "f", b"x")),
    harmless("same name many times", *(file("a", b"%d" % n) for n in range(50))),
    harmless(
        "tar within limits but odd", folder("/"), folder("./"), folder("."), folder("a//b/./c")
    ),
]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_layer_reaches_outside(attack: Attack, overlay: Overlay, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    inside = tmp_path / "store" / "fs"
    inside.mkdir(parents=True)
    before = world(outside), sorted(os.listdir(tmp_path)), os.listdir(tmp_path / "store")
    layer = _named(attack.members, outside)
    rules = Rules(overlay, single_id=not ROOT)

    if attack.refused is None:
        unpack_layer(io.BytesIO(layer), str(inside), rules)
    else:
        with pytest.raises(attack.refused):
            unpack_layer(io.BytesIO(layer), str(inside), rules)

    assert (world(outside), sorted(os.listdir(tmp_path)), os.listdir(tmp_path / "store")) == before


def _named(members: tuple[bytes, ...], outside: Path) -> bytes:
    """Put the real directory into names and links, and make sizes and checksums right again."""
    return b"".join(_renamed(each, os.fsencode(outside)) for each in members) + END


def _renamed(data: bytes, outside: bytes) -> bytes:
    if OUT not in data:
        return data
    if data[156:157] == b"x":
        size = int(data[124:135], 8)
        records = []
        for line in data[512 : 512 + size].splitlines():
            key, _, value = line.partition(b" ")[2].partition(b"=")
            records.append((key, value.replace(OUT, outside)))
        return pax(records) + _renamed(data[512 + size + -size % 512 :], outside)
    name = data[:100].rstrip(b"\0").replace(OUT, outside)
    target = data[157:257].rstrip(b"\0").replace(OUT, outside)
    size = int(data[124:135], 8)
    mode = int(data[100:107], 8)
    return member(name, data[156:157], data[512 : 512 + size], link=target, mode=mode)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_marks_of_the_store_cannot_be_smuggled_in(overlay: Overlay, tmp_path: Path) -> None:
    smuggled = [
        (b"SCHILY.xattr.trusted.overlay.opaque", b"y"),
        (b"SCHILY.xattr.user.overlay.opaque", b"y"),
        (b"SCHILY.xattr.user.overlay.redirect", b"/etc"),
        (b"SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        (b"SCHILY.xattr.user.buildkit_py.owner", b"0:0"),
        (b"SCHILY.xattr.user.kept", b"yes"),
    ]
    layer = tar(pax(smuggled), folder("d"), pax(smuggled), file("f", b"x"))

    unpack_layer(io.BytesIO(layer), str(tmp_path), Rules(overlay, single_id=not ROOT))

    assert os.listxattr(tmp_path / "d") == ["user.kept"]
    assert os.listxattr(tmp_path / "f") == ["user.kept"]


def test_a_directory_that_became_a_link_is_not_entered_for_its_time(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    before = world(outside)
    inside = tmp_path / "fs"
    inside.mkdir()
    layer = tar(folder("a", mtime=1), link("a", os.fsencode(outside)))

    unpack_layer(io.BytesIO(layer), str(inside), Rules("copy", single_id=not ROOT))

    assert world(outside) == before
    assert os.readlink(inside / "a") == str(outside)


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    layer = gzip.compress(tar(file("zeros", bytes(64 << 20))), 9)
    rules = Rules("copy", single_id=not ROOT, most_bytes=1 << 20)

    with pytest.raises(LayerTooLarge, match="larger than 1048576 bytes"):
        unpack_layer(io.BytesIO(layer), str(tmp_path), rules)


def test_a_sparse_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    records = [
        (SPARSE + b"map", b""),
        (SPARSE + b"size", b"%d" % (1 << 40)),
        (SPARSE + b"major", b"0"),
        (SPARSE + b"minor", b"1"),
    ]
    layer = tar(pax(records), file("x"))
    rules = Rules("copy", single_id=not ROOT, most_bytes=1 << 30)

    with pytest.raises(LayerTooLarge):
        unpack_layer(io.BytesIO(layer), str(tmp_path), rules)


def test_a_flood_of_entries_stops_at_the_limit(tmp_path: Path) -> None:
    layer = tar(*(file(f"f{n}") for n in range(20)))
    rules = Rules("copy", single_id=not ROOT, most_entries=10)

    with pytest.raises(LayerTooLarge, match="more than 10 entries"):
        unpack_layer(io.BytesIO(layer), str(tmp_path), rules)


def test_memory_stays_small_whatever_headers_claim(tmp_path: Path) -> None:
    claims = b"".join(
        pax([(b"comment", b"c" * 1_000_000)]) + file(f"f{n}", b"x") for n in range(30)
    )
    stream = io.BytesIO(claims + END)
    tracemalloc.start()
    try:
        unpack_layer(stream, str(tmp_path), Rules("copy", single_id=not ROOT))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 8 << 20


@pytest.mark.root
def test_devices_are_made_by_root_with_their_numbers(tmp_path: Path) -> None:
    layer = tar(node("null", b"3", 1, 3), node("disk", b"4", 8, 1), node("pipe", b"6"))

    unpack_layer(io.BytesIO(layer), str(tmp_path), Rules("kernel"))

    assert os.stat(tmp_path / "null").st_rdev == os.makedev(1, 3)
    assert os.stat(tmp_path / "disk").st_rdev == os.makedev(8, 1)
    assert (tmp_path / "pipe").is_fifo()


def test_a_cut_off_layer_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = gzip.compress(tar(file("a", os.urandom(3000)), file("b", b"x")), mtime=0)
    for length in range(len(whole) - 1, 20, -97):
        target = tmp_path / str(length)
        target.mkdir()
        with pytest.raises(BadLayer):
            unpack_layer(io.BytesIO(whole[:length]), str(target), Rules("copy", single_id=not ROOT))
