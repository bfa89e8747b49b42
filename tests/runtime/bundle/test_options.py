"""Options of mounts: each of the specification's table, and what happens when they disagree."""

from __future__ import annotations

import pytest

from buildkit_py.core.errors import InputError
from buildkit_py.runtime.bundle.options import NAMES, RECURSIVE, Options, parse
from buildkit_py.runtime.kernel.mounts import MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE

ATIME = 0x70


def read(*words: str) -> Options:
    return parse(words, "config.json: mounts: `/a`")


@pytest.mark.parametrize(
    ("word", "set_", "clear"),
    [
        ("ro", 0x1, 0),
        ("rw", 0, 0x1),
        ("nosuid", 0x2, 0),
        ("suid", 0, 0x2),
        ("nodev", 0x4, 0),
        ("dev", 0, 0x4),
        ("noexec", 0x8, 0),
        ("exec", 0, 0x8),
        ("noatime", 0x10, ATIME),
        ("atime", 0, ATIME),
        ("strictatime", 0x20, ATIME),
        ("nostrictatime", 0, ATIME),
        ("relatime", 0, ATIME),
        ("norelatime", 0, ATIME),
        ("nodiratime", 0x80, 0),
        ("diratime", 0, 0x80),
        ("nosymfollow", 0x200000, 0),
        ("symfollow", 0, 0x200000),
    ],
)
def test_attributes_of_a_mount_and_of_all_beneath_it(word: str, set_: int, clear: int) -> None:
    assert read(word) == Options(set_=set_, clear=clear)
    assert read(f"r{word}") == Options(recursive_set=set_, recursive_clear=clear)


@pytest.mark.parametrize(
    ("words", "set_", "clear"),
    [
        ("ro rw", 0, 0x1),
        ("rw ro", 0x1, 0),
        ("nosuid suid nosuid", 0x2, 0),
        ("nosuid,suid", 0, 0x2),
        ("dev nodev noexec exec", 0x4, 0x8),
        ("noatime relatime", 0, ATIME),
        ("relatime strictatime", 0x20, ATIME),
        ("strictatime noatime", 0x10, ATIME),
        ("noatime nodiratime diratime", 0x10, ATIME | 0x80),
        ("symfollow nosymfollow", 0x200000, 0),
    ],
)
def test_of_options_that_exclude_each_other_the_last_wins(
    words: str, set_: int, clear: int
) -> None:
    made = read(*words.replace(",", " ").split())

    assert (made.set_, made.clear) == (set_, clear)


def test_recursive_options_are_apart_from_the_plain_ones() -> None:
    made = read("rro", "rw", "rnosuid", "rsuid", "rnoatime")

    assert (made.set_, made.clear) == (0, 0x1)
    assert (made.recursive_set, made.recursive_clear) == (0x11, 0x2 | ATIME)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("private", MS_PRIVATE),
        ("shared", MS_SHARED),
        ("slave", MS_SLAVE),
        ("unbindable", MS_UNBINDABLE),
    ],
)
def test_propagation(word: str, kind: int) -> None:
    assert read(word).propagation == ((kind, False),)
    assert read(f"r{word}").propagation == ((kind, True),)


def test_propagations_are_applied_in_their_order() -> None:
    """A shared slave takes two calls: mount_namespaces(7)."""
    assert read("rslave", "shared").propagation == ((MS_SLAVE, True), (MS_SHARED, False))


def test_a_bind_is_the_last_of_bind_and_rbind() -> None:
    assert read().bind is None
    assert read("bind").bind is False
    assert read("rbind").bind is True
    assert read("bind", "rbind").bind is True
    assert read("rbind", "bind").bind is False


def test_what_is_said_about_the_mounting_itself() -> None:
    assert read("remount").remount
    assert read("tmpcopyup").copy_up


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("sync", ("sync",)),
        ("sync async", ()),
        ("async sync", ("sync",)),
        ("dirsync", ("dirsync",)),
        ("lazytime", ("lazytime",)),
        ("lazytime nolazytime", ()),
        ("nolazytime lazytime", ("lazytime",)),
        ("mand", ("mand",)),
        ("mand nomand", ()),
        ("sync sync lazytime", ("sync", "lazytime")),
    ],
)
def test_flags_of_the_file_system_itself(words: str, flags: tuple[str, ...]) -> None:
    assert read(*words.split()).flags == flags


@pytest.mark.parametrize(
    "word", ["defaults", "loud", "silent", "iversion", "noiversion", "acl", "noacl"]
)
def test_words_that_change_nothing(word: str) -> None:
    assert read(word) == Options()


@pytest.mark.parametrize(
    ("word", "entry"),
    [
        ("size=64k", ("size", "64k")),
        ("newinstance", ("newinstance", None)),
        ("gid=5", ("gid", "5")),
        ("empty=", ("empty", "")),
        ("lowerdir=a=b:c", ("lowerdir", "a=b:c")),
        ("rofl", ("rofl", None)),
        ("RO", ("RO", None)),
    ],
)
def test_what_is_no_option_is_data_for_the_file_system(
    word: str, entry: tuple[str, str | None]
) -> None:
    assert read(word) == Options(data=(entry,))


def test_data_keep_their_order() -> None:
    assert read("b=1", "ro", "a=2", "b=3").data == (("b", "1"), ("a", "2"), ("b", "3"))


@pytest.mark.parametrize("word", ["", "=", "=64k"])
def test_a_word_without_a_name_is_refused_at_its_place(word: str) -> None:
    with pytest.raises(InputError) as caught:
        read("ro", word)

    assert caught.value.code == "runtime/mount-option"
    assert "mounts: `/a`" in caught.value.message


def test_ids_are_mapped_of_one_mount_or_of_all_beneath() -> None:
    assert read("ro").idmap is None
    assert read("idmap").idmap is False
    assert read("ridmap").idmap is True


@pytest.mark.parametrize("word", sorted(set(NAMES)))
def test_no_option_that_features_lists_is_taken_for_data(word: str) -> None:
    assert read(word).data == ()


def test_every_attribute_has_a_recursive_twin() -> None:
    assert len(RECURSIVE) == len(set(RECURSIVE)) == 18
