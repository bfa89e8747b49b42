"""What COPY, ADD and RUN really do, as root and without rights: layers, sandbox, mounts."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.conftest import mirror_host
from tests.stories.conftest import Person

pytestmark = pytest.mark.slow


def tar_of(**files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"inside/{name}")
            member.size, member.mode, member.uid, member.gid = len(text), 0o640, 7, 8
            tar.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


COPIES = """\
FROM busybox AS base
RUN mkdir -p /made/by/run && echo made > /made/by/run/file && chown -R 11:12 /made
RUN echo team:x:70: >> /etc/group && echo ann:x:71:70::/:/bin/sh >> /etc/passwd

FROM base
COPY src/ /opt/src
COPY src/a.txt src/b.txt named/
COPY --from=base /made /from
COPY --from=0 --chown=5:6 /made/by/run/file /numbers
COPY --chown=ann src/a.txt /ann
COPY --chown=ann:team --chmod=0640 src/a.txt /team
COPY --chmod=u=rwX,go=rX src /modes
COPY <<ONE <<"TWO" /here/
home of $HOSTNAME
ONE
as $IS
TWO
ADD archive.tar.gz /unpacked
COPY archive.tar.gz /
ADD --chown=3:4 archive.tar.gz /given/
"""


def test_copy_and_add(anyone: Person) -> None:
    made = anyone.build(
        COPIES,
        {
            ".dockerignore": "**/*.log\nsecret\n!src/kept.log\n",
            "src/a.txt": "a",
            "src/b.txt": "b",
            "src/x.log": "hidden",
            "src/kept.log": "kept",
            "secret": "hidden",
            "archive.tar.gz": tar_of(one="1", two="22"),
        },
    )
    source, named, taken, numbers, ann, team, modes, here, unpacked, packed, given = made.new[2:]

    assert set(source.entries) == {
        "opt",
        "opt/src",
        "opt/src/a.txt",
        "opt/src/b.txt",
        "opt/src/kept.log",
    }
    assert set(source.owners().values()) == {(0, 0)}
    assert set(named.entries) == {"named", "named/a.txt", "named/b.txt"}
    assert taken.text("from/by/run/file") == "made\n"
    assert taken.owners()["from/by/run/file"] == (11, 12)
    assert numbers.owners()["numbers"] == (5, 6)
    assert ann.owners()["ann"] == (71, 70)
    assert team.owners()["team"] == (71, 70)
    assert team.modes()["team"] == 0o640
    assert modes.modes() == {
        "modes": 0o755,
        "modes/a.txt": 0o644,
        "modes/b.txt": 0o644,
        "modes/kept.log": 0o644,
    }
    assert here.text("here/ONE") == "home of \n"
    assert here.text("here/TWO") == "as $IS\n"
    assert unpacked.text("unpacked/inside/two") == "22"
    assert unpacked.owners()["unpacked/inside/one"] == (7, 8)
    assert unpacked.modes()["unpacked/inside/one"] == 0o640
    assert set(packed.entries) == {"archive.tar.gz"}
    assert given.owners()["given/inside/one"] == (3, 4)


def test_an_ignored_source_is_named(anyone: Person) -> None:
    context = anyone.context(
        "FROM busybox\nCOPY secret /\n", {"secret": "s", ".dockerignore": "secret\n"}
    )

    done = anyone.pybuild(context, code=2)

    assert "`secret` is excluded from the build context by the ignore file" in done.error


def test_deleted_and_replaced_files_in_layers(anyone: Person) -> None:
    made = anyone.build(
        """\
        FROM busybox
        RUN mkdir -p /d/sub /e && touch /d/f /d/sub/g /e/x /e/y
        RUN rm /d/f && rm -r /e && echo file > /e
        RUN rm -r /d && mkdir /d && touch /d/new
        RUN touch /nothing && rm /nothing
        """.replace("        ", "")
    )
    _, second, third, fourth = made.new

    assert set(second.entries) == {"d", "d/.wh.f", "e"}
    assert second.entries["e"].isreg()
    assert second.text("e") == "file\n"
    assert set(third.entries) == {"d", "d/.wh.sub", "d/new"}
    assert fourth.entries == {}


SANDBOX = r"""
FROM busybox
RUN printf 'team:x:70:\nmore:x:72:ann\n' >> /etc/group \
 && echo ann:x:71:70::/home/ann:/bin/sh >> /etc/passwd
RUN sed -n 's/^Cap\(Eff\|Bnd\|Prm\):.0*/cap\1=/p; s/^Seccomp:./seccomp=/p' /proc/self/status; \
    echo hostname=$(hostname); echo umask=$(umask); echo home=$HOME; echo pid=$$; \
    echo id=$(id -u):$(id -g):$(id -G | tr ' ' ,); \
    echo dev=$(ls /dev | grep -v '^\(console\|core\)$'); \
    echo masked=$(cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c); \
    (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo sys=read-only; \
    (echo x > /sys/kernel/mm/ksm/run) 2>/dev/null || echo sysfs=read-only; \
    (echo x > /etc/hosts) 2>/dev/null || echo hosts=read-only; \
    (echo x > /etc/resolv.conf) 2>/dev/null || echo resolv=read-only; \
    mount -t tmpfs none /mnt 2>/dev/null || echo mount=refused; \
    mknod /tmp/disk b 8 0 2>/dev/null && head -c 1 /tmp/disk 2>/dev/null || echo disk=refused; \
    rm -f /tmp/disk; \
    echo input=$(cat | wc -c); \
    if [ -t 0 ] || [ -t 1 ]; then echo tty=yes; else echo tty=no; fi; \
    echo shm=$(df -m /dev/shm | tail -n 1 | awk '{print $2}'); \
    echo processes=$(ls -d /proc/[0-9]* | wc -l)
USER ann
RUN echo uhome=$HOME; echo uid=$(id -u):$(id -g):$(id -G | tr ' ' ,); \
    sed -n 's/^Cap\(Eff\):.0*/ucap\1=/p' /proc/self/status
USER ann:more
RUN echo gid=$(id -u):$(id -g):$(id -G | tr ' ' ,)
USER 1234
RUN echo nid=$(id -u):$(id -g); echo nhome=$HOME
"""


def test_the_sandbox_of_run(anyone: Person) -> None:
    made = anyone.build(SANDBOX)
    said = made.done.said

    assert said("capEff") == said("capBnd") == said("capPrm") == "a80425fb"
    assert said("seccomp") == "2"
    assert (said("hostname"), said("umask"), said("home")) == ("buildkitsandbox", "0022", "/root")
    assert said("pid") == "1"
    assert said("id") == "0:0:0,10"  # the base has root in group wheel
    assert (
        said("dev")
        == "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    )
    assert said("masked") == "0"
    assert {said(each) for each in ("sys", "sysfs", "hosts", "resolv")} == {"read-only"}
    assert (said("mount"), said("disk")) == ("refused", "refused")
    assert (said("input"), said("tty")) == ("0", "no")
    assert said("shm") == "64"
    assert int(said("processes")) < 6
    assert (said("uhome"), said("uid"), said("ucapEff")) == ("/home/ann", "71:70:70,72", "")
    assert said("gid") == "71:72:72"
    assert (said("nid"), said("nhome")) == ("1234:0", "/")


def test_nothing_of_the_sandbox_is_in_a_layer(anyone: Person) -> None:
    made = anyone.build(
        r"""
FROM scratch AS bare
COPY --from=busybox /bin /bin
RUN ["/bin/busybox", "touch", "/only"]
RUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/d/e \
    --mount=type=bind,source=f,target=/g/h/i <<END
touch /a/b/c/x /d/e/x
cat /g/h/i
END
""",
        {"f": "f"},
    )
    _, only, mounts = made.new

    assert set(only.entries) == {"only"}
    assert mounts.entries == {}


def test_networks_of_run(anyone: Person) -> None:
    """`none` has loopback only, `host` has what the host has, the default an own interface."""
    show = "echo %s=$(ls /sys/class/net); echo %sroutes=$(($(wc -l < /proc/net/route) - 1))"
    made = anyone.build(
        "FROM busybox\n"
        f"RUN --network=none {show % ('none', 'none')}\n"
        f"RUN {show % ('default', 'default')} && cat /etc/resolv.conf /etc/hosts\n"
        "RUN --network=host echo host=$(grep -c : /proc/net/dev)\n",
        None,
        "--allow=network.host",
    )

    assert (made.done.said("none"), made.done.said("noneroutes")) == ("lo", "0")
    assert made.done.said("default") == "eth0 lo"
    assert int(made.done.said("defaultroutes")) >= 1
    assert any(line.startswith("nameserver ") for line in made.done.output)
    assert any(line.split()[1:] == ["buildkitsandbox"] for line in made.done.output)
    devices = Path("/proc/net/dev").read_text().count(":")
    assert made.done.said("host") == str(devices)
    assert [layer.entries for layer in made.new] == [{}, {}, {}]


def test_network_none_for_the_whole_build(anyone: Person) -> None:
    show = "FROM busybox\nRUN echo links=$(ls /sys/class/net)\n"

    made = anyone.build(show, None, "--network=none", "--add-host", "there=192.0.2.7")

    assert made.done.said("links") == "lo"


@pytest.mark.network
def test_run_reaches_the_package_registry(anyone_with_debian: Person) -> None:
    """A name is looked up and a page is asked for, from an own network and from the host's."""
    host = mirror_host()
    ask = (
        f"exec 3<>/dev/tcp/{host}/80 && printf 'HEAD / HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n' >&3"
        " && read -r answer <&3 && echo"
    )

    made = anyone_with_debian.build(
        "FROM debian:bookworm\n"
        'SHELL ["/bin/bash", "-c"]\n'
        f"RUN {ask} own=$answer\n"
        f"RUN --network=host {ask} host=$answer\n"
        f"RUN --network=none ({ask} none=$answer) 2>/dev/null || echo none=unreachable\n",
        None,
        "--allow=network.host",
    )

    assert made.done.said("own").startswith("HTTP/1.")
    assert made.done.said("host").startswith("HTTP/1.")
    assert made.done.said("none") == "unreachable"


BINDS = r"""
FROM busybox AS other
RUN mkdir /d && echo from stage > /d/f
FROM busybox
RUN --mount=type=bind,target=/c --mount=type=bind,from=other,source=/d,target=/o,rw <<END
echo seen=$(cd /c && find . | sort)
(echo x > /c/kept) 2>/dev/null || echo context=read-only
echo x > /o/new && echo stage=$(ls /o) && cat /o/f
END
RUN --mount=from=other,source=/d,target=/o echo after=$(ls /o)
"""


def test_bind_mounts(anyone: Person) -> None:
    files = {"kept": "k", "hidden": "h", "d/in": "i", ".dockerignore": "hidden\n"}

    made = anyone.build(BINDS, files)

    assert made.done.said("seen") == ". ./.dockerignore ./Dockerfile ./d ./d/in ./kept"
    assert made.done.said("context") == "read-only"
    assert made.done.said("stage") == "f new"
    assert "from stage" in made.done.output
    assert made.done.said("after") == "f"
    assert (anyone.folder / "c/kept").read_text() == "k"
    assert [layer.entries for layer in made.new] == [{}, {}]


def test_a_cache_mount_persists_until_no_cache(anyone: Person) -> None:
    mount = "--mount=type=cache,id=persists,target=/cache,uid=9,gid=8,mode=0750"
    count = "echo x >> /cache/count; echo count=$(wc -l < /cache/count)"
    own = "echo own=$(stat -c %u:%g:%a /cache)"

    def dockerfile(number: int) -> str:
        return f"FROM busybox\nRUN {mount} : {number}; {count}; {own}\n"

    first = anyone.build(dockerfile(1), None, "--no-cache")
    second = anyone.build(dockerfile(2), cached=True)
    third = anyone.build(dockerfile(3), cached=True)
    again = anyone.build(dockerfile(3), cached=True)
    wiped = anyone.build(dockerfile(3), None, "--no-cache")

    counts = [each.done.said("count") for each in (first, second, third, wiped)]
    assert counts == ["1", "2", "3", "1"]
    assert again.done.output == []
    assert first.done.said("own") == "9:8:750"
    assert [layer.entries for layer in third.new] == [{}]


WAIT = "n=0; while [ ! -e /m/%s ]; do n=$((n+1)); [ $n -lt 600 ] || exit 9; usleep 50000; done"
MEET = "RUN --mount=type=cache,id=meeting,target=/m touch /m/{} /ok; {}"
MEETING = f"""\
FROM busybox AS one
{MEET.format("one", WAIT % "two")}
FROM busybox AS two
{MEET.format("two", WAIT % "one")}
FROM scratch
COPY --from=one /ok /one
COPY --from=two /ok /two
"""


def test_independent_stages_run_at_the_same_time(anyone: Person) -> None:
    """Two steps that wait for each other, through a cache mount, end only when both run."""
    made = anyone.build(MEETING, cached=True)

    assert [set(layer.entries) for layer in made.new] == [{"one"}, {"two"}]


def test_locked_and_private_caches(anyone: Person) -> None:
    """`locked` lets one step in at a time; `private` gives the second step another directory."""
    step = "mkdir /m/busy || exit 9; sleep 0.3; rmdir /m/busy; touch /ok"
    two = "FROM scratch\nCOPY --from=one /ok /one\nCOPY --from=two /ok /two\n"

    for sharing in ("locked", "private"):
        mount = f"--mount=type=cache,id=for-{sharing},target=/m,sharing={sharing}"
        stages = "".join(
            f"FROM busybox AS {name}\nRUN {mount} : {name}; {step}\n" for name in ("one", "two")
        )
        made = anyone.build(stages + two)
        assert [set(layer.entries) for layer in made.new] == [{"one"}, {"two"}]


def test_tmpfs_mounts(anyone: Person) -> None:
    made = anyone.build(
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m echo kind=$(stat -f -c %T /t)"
        " && (head -c 2000000 /dev/zero > /t/f || echo full=yes) 2>/dev/null\n"
    )

    assert (made.done.said("kind"), made.done.said("full")) == ("tmpfs", "yes")
    assert made.new[0].entries == {}


@pytest.mark.parametrize("kind", ["secret", "ssh"])
def test_mounts_that_are_to_come_say_so(anyone: Person, kind: str) -> None:
    context = anyone.context(f"FROM busybox\nRUN --mount=type={kind},id=x true\n")

    done = anyone.pybuild("--no-cache", context, code=2)

    assert f"`--mount=type={kind}` is not supported yet\n --> Dockerfile:2:" in done.error


def test_limits_of_run(anyone: Person) -> None:
    made = anyone.build(
        "FROM busybox\nRUN echo files=$(ulimit -n); echo shm=$(df -m /dev/shm | tail -n 1 | "
        "awk '{print $2}'); grep there /etc/hosts\n",
        None,
        "--ulimit=nofile=123:456",
        "--shm-size=5m",
        "--add-host=there=192.0.2.7",
    )

    assert (made.done.said("files"), made.done.said("shm")) == ("123", "5")
    assert "192.0.2.7\tthere" in made.done.output


SCRIPTS = r"""
FROM busybox
RUN <<END
false
echo first=goes on
END
RUN <<END
#!/bin/awk BEGIN{print "second=awk"}
END
RUN cat <<ONE - <<TWO
of one
ONE
of $((1 + 1))
TWO
SHELL ["/bin/sh", "-ec"]
RUN <<END || echo third=stops
false
echo never
END
"""


def test_heredoc_scripts(anyone: Person) -> None:
    made = anyone.build(SCRIPTS)

    assert made.done.said("first") == "goes on"
    assert "of 2" in made.done.output
    assert "never" not in made.done.output
