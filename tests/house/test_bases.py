"""What base images take over from this machine, and what they must not."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from fixtures.bases import busybox, debian, host

BOOKWORM = 'ID=debian\nVERSION_CODENAME="bookworm"\n'
DEBIAN = """\
Types: deb deb-src
# a mirror near by
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
FOREIGN = """\
Types: deb
URIs: https://packages.example/apt
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/example.gpg
"""
SELF_SIGNED = ("one", "two")


def machine(root: Path, release: str, **files: str) -> Path:
    (root / "etc/apt/sources.list.d").mkdir(parents=True)
    (root / "etc/os-release").write_text(release)
    for name, text in files.items():
        (root / "etc/apt" / name.replace("__", "/").replace("_", ".")).write_text(text)
    return root


def test_debians_own_sources_are_taken_over_and_no_others(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        BOOKWORM,
        sources_list_d__debian_sources=DEBIAN,
        sources_list_d__foreign_sources=FOREIGN,
    )

    found = host.stanzas("bookworm", root)

    assert [stanza["URIs"] for stanza in found] == [
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    ]
    assert found[0]["Types"] == "deb"
    assert found[0]["Components"] == "main contrib"


def test_lines_of_the_old_format_are_read(tmp_path: Path) -> None:
    lines = (
        "# deb http://no.example/debian bookworm main\n"
        "deb-src http://src.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main non-free # own\n"
    )
    root = machine(tmp_path, BOOKWORM, sources_list=lines)

    assert host.stanzas("bookworm", root) == [
        {
            "Types": "deb",
            "Signed-By": "/k.gpg",
            "URIs": "http://m.example/debian",
            "Suites": "bookworm",
            "Components": "main non-free",
        }
    ]


def test_another_release_of_debian_keeps_its_mirror(tmp_path: Path) -> None:
    trixie = DEBIAN.replace("bookworm", "trixie")
    release = BOOKWORM.replace("bookworm", "trixie")
    root = machine(tmp_path, release, sources_list_d__debian_sources=trixie)

    assert [stanza["Suites"] for stanza in host.stanzas("bookworm", root)] == [
        "bookworm bookworm-updates",
        "bookworm-security",
    ]


def test_a_machine_of_another_kind_means_debians_own_mirror(tmp_path: Path) -> None:
    root = machine(tmp_path, "ID=ubuntu\nVERSION_CODENAME=noble\n", sources_list=FOREIGN)

    assert [stanza["URIs"] for stanza in host.stanzas("bookworm", root)] == [
        host.MIRROR,
        host.SECURITY,
    ]


def test_apts_ways_are_taken_over_without_passwords() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3142";\n'
        'Acquire::https::Proxy "http://me:secret@proxy.example";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'APT::Architecture "amd64";\n'
        'Acquire::Retries "";\n'
    )
    notes: list[str] = []

    text = host.apt_settings(dump, notes)

    assert text == (
        'Acquire::http::Proxy "http://proxy.example:3142";\nAcquire::Check-Valid-Until "false";\n'
    )
    assert notes == ["Acquire::https::Proxy holds a password and was left out"]


def test_pip_gets_what_means_the_same_elsewhere() -> None:
    options = {
        "index-url": "https://index.example/simple",
        "extra-index-url": "file:///srv/wheels https://me:secret@x.example https://y.example",
        "find-links": "/srv/wheels",
        "constraint": "/etc/constraints.txt",
        "break-system-packages": "true",
        "timeout": "180",
        "cert": "/home/me/ca.pem",
    }
    notes: list[str] = []

    text = host.pip_settings(options, False, notes)

    assert text == (
        "[global]\n"
        "index-url = https://index.example/simple\n"
        "extra-index-url = https://y.example\n"
        "timeout = 180\n"
        "cert = /etc/ssl/certs/ca-certificates.crt\n"
    )
    assert len(notes) == 2
    assert host.pip_settings({}, False, notes) == ""


def test_the_environment_wins_over_pips_files(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/pip.conf").write_text("[global]\nindex-url = https://file.example\n")
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}

    assert host.pip_options(environment)["index-url"] == "https://file.example"
    environment["PIP_INDEX_URL"] = "https://env.example"
    assert host.pip_options(environment)["index-url"] == "https://env.example"


def certificate(folder: Path, name: str) -> str:
    path = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-subj", f"/CN={name}", "-keyout", f"{path}.key", "-out", str(path)],
        check=True,
        capture_output=True,
    )
    return path.read_text()


def test_authorities_of_this_machine_alone_are_found(tmp_path: Path) -> None:
    one, two = (certificate(tmp_path, name) for name in SELF_SIGNED)

    assert host.private_ones(f"# comment\n{one}\n{two}", [one]) == host.certificates(two)
    assert host.private_ones(one + two, [one + two]) == []
    assert host.private_ones(one, []) == []


def test_the_busybox_of_one_program_has_all_its_names(tmp_path: Path) -> None:
    tars = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for tar in tars:
        busybox.write(tar, b"program", ["sh", "ls", "busybox"], 1_600_000_000)

    assert tars[0].read_bytes() == tars[1].read_bytes()
    with tarfile.open(tars[0]) as archive:
        members = {member.name: member for member in archive}
    assert members["bin/ls"].linkname == members["usr/bin/env"].linkname == "bin/busybox"
    assert members["tmp"].mode == 0o1777
    assert members["root"].mode == 0o700
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {
        (0, 0, 1_600_000_000)
    }


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("dev/null", True),
        ("dev", False),
        ("etc/resolv.conf", True),
        ("etc/apt/sources.list", True),
        ("etc/apt/sources.list.d/0000bookworm.list", True),
        ("etc/apt/sources.list.d", False),
        ("etc/passwd", False),
    ],
)
def test_devices_and_traces_of_the_maker_are_left_out(name: str, dropped: bool) -> None:
    assert debian.is_of_the_maker(name) is dropped


def test_the_host_part_replaces_files_and_is_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "taken_over", lambda codename, notes: {"etc/pip.conf": b"new"})
    plain = tmp_path / "plain.tar"
    with tarfile.open(plain, "w") as archive:
        for name in ("./", "./etc/", "./dev/null", "./etc/pip.conf"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.mtime = 1000
            archive.addfile(member)

    tars = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for tar in tars:
        debian.add_host(plain, tar, [])

    assert tars[0].read_bytes() == tars[1].read_bytes()
    with tarfile.open(tars[0]) as archive:
        names = archive.getnames()
        extracted = archive.extractfile("etc/pip.conf")
        assert extracted is not None
        assert extracted.read() == b"new"
    assert names.count("etc/pip.conf") == 1
    assert "dev/null" not in names
    assert "usr/sbin/policy-rc.d" in names
