"""Cgroups of OCI containers: where they go, what is written, and what the kernel then does."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.core.errors import HostError, InputError
from buildkit_py.oci.runtime_config import (
    BlockIo,
    Cpu,
    DeviceRule,
    Memory,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from buildkit_py.runtime.kernel import (
    oci_cgroup_stats,
    oci_device_rules,
    oci_limits,
    oci_resources_v1,
    oci_resources_v2,
)
from buildkit_py.runtime.kernel.oci_cgroup_paths import (
    CgroupHost,
    Hierarchy,
    Place,
    detect,
    plan_paths,
)
from buildkit_py.runtime.kernel.oci_cgroups import Cgroup, CgroupInUse
from buildkit_py.runtime.kernel.oci_limits import NoController
from buildkit_py.runtime.kernel.oci_resources import BadResource, Row, check
from buildkit_py.runtime.kernel.processes import clone3
from tests.rootless import TREE

HYBRID = CgroupHost((Hierarchy("/cg/cpu", ("cpu", "cpuacct")), Hierarchy("/cg/two", unified=True)))
FULL = Resources(
    memory=Memory(limit=100, reservation=50, swap=150, kernel=7, kernel_tcp=8, swappiness=3),
    cpu=Cpu(shares=1024, quota=50000, burst=10, period=100000, cpus="0-1", mems="0"),
    pids=0,
    block_io=BlockIo(
        weight=500,
        weight_devices=(WeightDevice(8, 0, 10),),
        read_bps=(ThrottleDevice(8, 0, 1024),),
        write_iops=(ThrottleDevice(8, 0, 0),),
    ),
    huge_pages=(("2MB", 4096),),
    class_id=5,
    priorities=(("eth0", 3),),
    rdma={"mlx5_0": Rdma(handles=2, objects=20)},
    unified={"memory.high": "90", "io.max": "8:0 rbps=1\n8:16 rbps=2"},
)


def directories(path: str, id: str = "box", host: CgroupHost = HYBRID) -> list[str]:
    return [place.directory for place in plan_paths(path, id, host)]


def written(rows: Iterator[Row]) -> list[tuple[str, str]]:
    return [(row.file, row.text) for row in rows]


def nothing(_: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("", "pyruntime/box"),
        ("a/b", "pyruntime/a/b"),
        ("/a//b/./", "a/b"),
        ("system.slice:docker:1", "pyruntime/system.slice:docker:1"),
    ],
)
def test_a_path_is_the_same_place_in_every_hierarchy(path: str, inner: str) -> None:
    assert directories(path) == [f"/cg/cpu/{inner}", f"/cg/two/{inner}"]


@pytest.mark.parametrize("path", ["..", "/a/../b", "a/..", "/", "./", "a\0b"])
def test_a_path_that_leads_elsewhere_or_nowhere_is_refused(path: str) -> None:
    with pytest.raises(InputError) as caught:
        directories(path)

    assert caught.value.code == "runtime/cgroup-path"


@pytest.mark.parametrize("id", ["", ".", "..", "a/b"])
def test_an_id_that_names_no_directory_is_refused(id: str) -> None:
    with pytest.raises(InputError):
        directories("", id)


def test_without_root_all_is_beneath_what_the_user_has() -> None:
    mine = Hierarchy("/cg", unified=True, base="user.slice/mine")
    host = CgroupHost((mine, Hierarchy("/v1", ("cpu",), base=None)), rootless=True)

    assert directories("", host=host) == ["/cg/user.slice/mine/pyruntime/box"]
    assert directories("/a", host=host) == ["/cg/user.slice/mine/a"]
    assert directories("/user.slice/mine/a", host=host) == ["/cg/user.slice/mine/a"]


def test_systemd_cannot_be_asked_and_says_so() -> None:
    with pytest.raises(HostError, match="does not run here"):
        plan_paths("a:b:c", "box", HYBRID, systemd=True)
    with pytest.raises(InputError, match="slice:prefix:name"):
        plan_paths("/a/b", "box", HYBRID, systemd=True)


def test_limits_of_cgroup2() -> None:
    assert written(oci_resources_v2.rows(FULL, nothing)) == [
        ("memory.max", "100"),
        ("memory.swap.max", "50"),
        ("memory.low", "50"),
        ("cpu.weight", "100"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "10"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "1"),
        ("io.weight", "4950"),
        ("io.weight", "8:0 1"),
        ("io.max", "8:0 rbps=1024"),
        ("io.max", "8:0 wiops=max"),
        ("hugetlb.2MB.max", "4096"),
        ("hugetlb.2MB.rsvd.max", "4096"),
        ("rdma.max", "mlx5_0 hca_handle=2 hca_object=20"),
        ("io.max", "8:0 rbps=1"),
        ("io.max", "8:16 rbps=2"),
        ("memory.high", "90"),
    ]
    assert oci_resources_v2.unknown(FULL) == [
        "memory.swappiness", "network.classID", "network.priorities"
    ]  # fmt: skip


def test_limits_of_v1() -> None:
    assert written(oci_resources_v1.rows(FULL, lambda name: "bfq" in name)) == [
        ("memory.limit_in_bytes", "100"),
        ("memory.memsw.limit_in_bytes", "150"),
        ("memory.soft_limit_in_bytes", "50"),
        ("memory.kmem.tcp.limit_in_bytes", "8"),
        ("memory.swappiness", "3"),
        ("cpu.shares", "1024"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_burst_us", "10"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "1"),
        ("blkio.bfq.weight", "500"),
        ("blkio.bfq.weight_device", "8:0 10"),
        ("blkio.throttle.read_bps_device", "8:0 1024"),
        ("blkio.throttle.write_iops_device", "8:0 0"),
        ("hugetlb.2MB.limit_in_bytes", "4096"),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "4096"),
        ("net_cls.classid", "5"),
        ("net_prio.ifpriomap", "eth0 3"),
        ("rdma.max", "mlx5_0 hca_handle=2 hca_object=20"),
    ]


def test_no_limit_has_a_word_in_each_world() -> None:
    free = Resources(memory=Memory(limit=-1), cpu=Cpu(quota=-1), pids=-1)

    assert written(oci_resources_v2.rows(free, nothing)) == [
        ("memory.max", "max"), ("memory.swap.max", "max"), ("cpu.max", "max"), ("pids.max", "max")
    ]  # fmt: skip
    assert written(oci_resources_v1.rows(free, nothing, memsw=9)) == [
        ("memory.memsw.limit_in_bytes", "-1"),
        ("memory.limit_in_bytes", "-1"),
        ("cpu.cfs_quota_us", "-1"),
        ("pids.max", "max"),
    ]


def test_who_raises_memory_on_v1_starts_with_swap_and_who_lowers_it_with_memory() -> None:
    wanted = Resources(memory=Memory(limit=100, swap=200))

    orders = [
        [file for file, _ in written(oci_resources_v1.rows(wanted, nothing, memsw=memsw))]
        for memsw in (50, 300)
    ]

    assert orders[0] == list(reversed(orders[1]))
    assert orders[1][0] == "memory.limit_in_bytes"


def test_an_idle_cgroup_is_woken_before_it_gets_a_weight() -> None:
    for idle, files in ((0, ["cpu.idle", "cpu.weight"]), (1, ["cpu.idle"])):
        rows = oci_resources_v2.rows(Resources(cpu=Cpu(shares=2, idle=idle)), nothing)

        assert [row.file for row in rows] == files


@pytest.mark.parametrize(("weight", "converted"), [(10, 1), (100, 910), (1000, 10000)])
def test_weights_of_block_devices_become_those_of_the_cost_model(
    weight: int, converted: int
) -> None:
    assert oci_resources_v2.io_weight(weight) == converted


def test_limits_that_contradict_each_other_are_refused() -> None:
    for bad in (
        Resources(memory=Memory(limit=100, swap=50)),
        Resources(unified={"../cgroup.procs": "1"}),
    ):
        with pytest.raises(BadResource):
            check(bad)
    with pytest.raises(BadResource, match=r"needs `memory\.limit`"):
        list(oci_resources_v2.rows(Resources(memory=Memory(swap=50)), nothing))


def fake_unified(place: Path, controllers: str, *files: str) -> tuple[Place, ...]:
    """Make a folder that stands for a cgroup2 directory with these files."""
    (place / "box").mkdir(exist_ok=True)
    (place / "box" / "cgroup.controllers").write_text(controllers)
    for file in files:
        (place / "box" / file).write_text("")
    return (Place(str(place), "box", unified=True),)


def test_limits_are_written_to_files_that_are_there(tmp_path: Path) -> None:
    places = fake_unified(tmp_path, "memory pids", "memory.max", "memory.foo", "pids.max")
    resources = Resources(
        memory=Memory(limit=7, swap=9, swappiness=1), pids=3, unified={"memory.foo": "x"}
    )

    warnings = oci_limits.apply(places, resources, guards_devices=False)

    folder = tmp_path / "box"
    assert [(folder / name).read_text() for name in ("memory.max", "memory.foo", "pids.max")] == [
        "7", "x", "3"
    ]  # fmt: skip
    assert warnings == [
        "`memory.swappiness` is not set: cgroup2 does not have it",
        "`memory.swap` is not set: the kernel has no `memory.swap.max`",
    ]


def test_a_missing_controller_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    places = fake_unified(tmp_path, "memory", "memory.max")

    for resources, text in (
        (Resources(memory=Memory(limit=7), pids=3), r"`linux\.resources\.pids\.limit`.*`pids`"),
        (Resources(unified={"nope.max": "1"}), r"`linux\.resources\.unified\.nope\.max`.*`nope`"),
    ):
        with pytest.raises(NoController, match=text):
            oci_limits.apply(places, resources, guards_devices=False)
    assert (tmp_path / "box" / "memory.max").read_text() == ""


def test_a_limit_below_what_is_used_is_refused_where_that_was_asked_for(tmp_path: Path) -> None:
    places = fake_unified(tmp_path, "memory", "memory.max", "memory.current")
    (tmp_path / "box" / "memory.current").write_text("1000\n")

    with pytest.raises(HostError, match="500 < 1000"):
        oci_limits.update(places, Resources(memory=Memory(limit=500, check_before_update=True)))
    oci_limits.update(places, Resources(memory=Memory(limit=500)))
    assert (tmp_path / "box" / "memory.max").read_text() == "500"


def test_a_part_of_a_limit_is_changed_with_the_other_part_that_stands(tmp_path: Path) -> None:
    places = fake_unified(tmp_path, "memory cpu", "memory.max", "memory.swap.max", "cpu.max")
    (tmp_path / "box" / "memory.max").write_text("100\n")
    (tmp_path / "box" / "cpu.max").write_text("5000 100000\n")

    oci_limits.update(places, Resources(memory=Memory(swap=150), cpu=Cpu(period=50000)))

    assert (tmp_path / "box" / "memory.swap.max").read_text() == "50"
    assert (tmp_path / "box" / "cpu.max").read_text().startswith("5000 50000")


def test_a_link_in_place_of_a_cgroup_file_is_not_followed(tmp_path: Path) -> None:
    places = fake_unified(tmp_path, "pids")
    target = tmp_path / "target"
    target.write_text("")
    (tmp_path / "box" / "pids.max").symlink_to(target)

    with pytest.raises(HostError):
        oci_limits.apply(places, Resources(pids=3), guards_devices=False)
    assert target.read_text() == ""


def test_without_a_cgroup_every_limit_is_a_warning() -> None:
    asked = Resources(memory=Memory(limit=5), pids=3, devices=(DeviceRule(False),))

    assert Cgroup(()).apply(asked) == [
        "`memory.limit` is not set: no cgroup can be made here",
        "`pids.limit` is not set: no cgroup can be made here",
    ]
    assert Cgroup(()).apply(Resources(memory=Memory(limit=-1))) == []


RULES = st.builds(
    DeviceRule,
    st.booleans(),
    st.sampled_from("abc"),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 3, 4]),
    st.sampled_from(["r", "w", "m", "rw", "rwm"]),
)


def allows(code: bytes, type: int, major: int, minor: int, access: int) -> bool:
    """Run the few instructions that a device program is made of."""
    import struct

    steps = list(struct.iter_unpack("=BBhi", code))
    context = [access << 16 | type, major, minor]
    registers = [0] * 11
    at = 0
    while True:
        operation, both, offset, value = steps[at]
        to, source = both & 15, both >> 4
        at += 1
        if operation == 0x61:
            registers[to] = context[offset // 4]
        elif operation == 0xBC:
            registers[to] = registers[source]
        elif operation == 0x74:
            registers[to] >>= value
        elif operation == 0x54:
            registers[to] &= value
        elif operation == 0xB4:
            registers[to] = value
        elif operation == 0x95:
            return registers[0] == 1
        elif operation == 0x05 or (
            (operation == 0x55 and registers[to] != value)
            or (operation == 0x45 and registers[to] & value)
        ):
            at += offset


@given(
    st.lists(RULES, max_size=6),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
    st.sampled_from([3, 4]),
    st.integers(1, 7),
)
def test_the_last_rule_that_speaks_of_a_letter_decides(
    rules: list[DeviceRule], type: int, major: int, minor: int, access: int
) -> None:
    def decides(letter: str) -> bool:
        verdict = False
        for rule in rules:
            if (
                rule.type in ("a", " bc"[type])
                and rule.major in (None, major)
                and rule.minor in (None, minor)
                and letter in rule.access
            ):
                verdict = rule.allow
        return verdict

    letters = [letter for bit, letter in ((1, "m"), (2, "r"), (4, "w")) if access & bit]

    assert allows(oci_device_rules.program(rules), type, major, minor, access) == all(
        decides(letter) for letter in letters
    )


def test_devices_of_v1_are_changed_without_a_moment_of_denial() -> None:
    deny_all = DeviceRule(False)
    tun = DeviceRule(True, "c", 10, 200, "rwm")
    null = DeviceRule(True, "c", 1, 3, "r")
    listing = "c 10:200 rwm\nc 1:3 rwm\nb *:* m\n"

    assert oci_device_rules.v1_changes(listing, [deny_all, tun, null]) == [
        ("devices.deny", "c 1:3 wm"),
        ("devices.deny", "b *:* m"),
    ]
    assert oci_device_rules.v1_changes("c 1:3 r\n", [deny_all, tun, null]) == [
        ("devices.allow", "c 10:200 rwm"),
    ]
    assert oci_device_rules.v1_changes("a *:* rwm\n", [deny_all, null]) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 r"),
    ]


def test_numbers_of_cgroup2_in_the_shape_of_runc() -> None:
    files = {
        "cpu.stat": "usage_usec 10\nuser_usec 7\nsystem_usec 3\nnr_periods 1\nnr_throttled 1\n",
        "memory.max": "max", "memory.current": "100", "memory.stat": "file 40\nanon 60\n",
        "memory.events": "max 2\noom_kill 1\n", "pids.max": "7", "pids.current": "2",
        "cpuset.cpus.effective": "0-1,3", "hugetlb.2MB.current": "9",
        "io.stat": "8:0 rbytes=5 wbytes=6 rios=1 wios=2 dbytes=0 dios=0",
        "cpu.pressure": "some avg10=0.50 avg60=0.00 avg300=0.00 total=3",
    }  # fmt: skip

    def read(controller: str, name: str) -> str:
        return "" if controller else files.get(name, "")

    data = oci_cgroup_stats.stats(read, frozenset(), list(files))

    assert data["cpu"]["usage"] == {"total": 10000, "kernel": 3000, "user": 7000}
    assert data["cpu"]["psi"] == {"some": {"avg10": 0.5, "avg60": 0, "avg300": 0, "total": 3}}
    assert data["cpuset"]["cpus"] == [0, 1, 3]
    assert data["memory"]["usage"] == {"limit": 2**64 - 1, "usage": 100, "max": 0, "failcnt": 2}
    assert data["memory"]["cache"] == 40
    assert data["pids"] == {"current": 2, "limit": 7}
    assert data["hugetlb"]["2MB"]["usage"] == 9
    assert data["blkio"]["ioServicedRecursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 1},
        {"major": 8, "minor": 0, "op": "Write", "value": 2},
    ]
    assert oci_cgroup_stats.oom_kills(read, is_v1=False) == 1


# From here on the kernel answers: in all hierarchies of this machine, then in cgroup2 alone.


class Box:
    """A cgroup of this machine's, and programs in it."""

    def __init__(self, path: str = "") -> None:
        self.id = f"test-{os.getpid()}-{secrets.token_hex(4)}"
        self.places = plan_paths(path, self.id, detect(rootless=False))
        self.cgroup = Cgroup.prepare(self.places)
        self.cgroup.create()
        self.programs: list[subprocess.Popen[str]] = []

    def start(self, *words: str, sub: str = "") -> subprocess.Popen[str]:
        """Start a program as the runtime does it: in a child that first joins."""
        fd, join = self.cgroup.enter(sub)
        try:
            if fd >= 0:
                join.append(os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd))
            program = "import os, sys\nfor fd in map(int, sys.argv[1].split(',')): "
            program += "os.write(fd, b'0')\nos.execvp(sys.argv[2], sys.argv[2:])"
            numbers = ",".join(map(str, join))
            child = subprocess.Popen(
                [sys.executable, "-ISc", program, numbers, "sh", "-c", "echo in; exec \"$@\"",
                 "sh", *words],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=join,
            )  # fmt: skip
        finally:
            for each in {fd, *join} - {-1}:
                os.close(each)
        self.programs.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        return child

    def run(self, *words: str) -> str:
        child = self.start(*words)
        assert child.stdout is not None
        said = child.stdout.read()
        child.wait(timeout=30)
        return said

    def read(self, controller: str, file: str) -> str:
        (place,) = (each for each in self.places if controller in each.controllers)
        return Path(place.directory, file).read_text()

    def close(self) -> None:
        self.cgroup.kill_all()
        for child in self.programs:
            child.kill()
            child.communicate()
        self.cgroup.delete()
        left = [place.directory for place in self.places if Path(place.directory).exists()]
        assert left == []


@pytest.fixture
def box() -> Iterator[Box]:
    box = Box()
    try:
        yield box
    finally:
        box.close()


root = pytest.mark.root


@root
def test_a_process_is_in_every_hierarchy_and_nothing_is_left(box: Box) -> None:
    shown = box.run("cat", "/proc/self/cgroup").splitlines()

    inside = [line for line in shown if line.endswith(f":/pyruntime/{box.id}")]
    assert len(inside) == len(box.places)


@root
def test_a_clone_is_born_in_the_unified_cgroup(box: Box) -> None:
    fd, join = box.cgroup.enter()
    for each in join:
        os.close(each)
    if fd < 0:
        pytest.skip("no cgroup2 here")
    pid, pidfd = clone3(0, cgroup_fd=fd)
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.close(fd)
    try:
        assert pid in box.cgroup.pids()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)


@root
def test_another_process_can_act_on_what_one_wrote_down(box: Box) -> None:
    child = box.start("sleep", "100")
    again = Cgroup.from_data(json.loads(json.dumps(box.cgroup.to_data())))

    assert again.pids() == [child.pid]
    again.kill_all()
    child.wait(timeout=10)
    again.delete()
    assert not box.cgroup.exists()


@root
def test_what_is_written_down_before_it_is_made_can_be_removed() -> None:
    places = plan_paths(f"/test-{secrets.token_hex(4)}/a/b", "x", detect(rootless=False))
    planned = Cgroup.prepare(places).to_data()
    Cgroup.from_data(planned).create()

    Cgroup.from_data(planned).delete()

    tops = [Path(place.mount, place.path.split("/")[0]) for place in places]
    assert [top for top in tops if top.exists()] == []


@root
def test_a_cgroup_with_somebody_in_it_is_refused_and_stays(box: Box) -> None:
    box.start("sleep", "100")

    with pytest.raises(CgroupInUse, match="has processes"):
        Cgroup.prepare(box.places)
    box.cgroup.freeze()
    with pytest.raises(CgroupInUse, match="is frozen"):
        Cgroup.prepare(box.places)
    box.cgroup.thaw()
    assert box.cgroup.pids() != []


@root
def test_who_comes_second_is_refused_and_removes_nothing() -> None:
    places = plan_paths("", f"test-{secrets.token_hex(4)}", detect(rootless=False))
    first, second = Cgroup.prepare(places), Cgroup.prepare(places)
    first.create()
    try:
        with pytest.raises(CgroupInUse, match="somebody else"):
            second.create()
        second.delete()
        assert [place for place in places if not Path(place.directory).exists()] == []
    finally:
        first.delete()


@root
def test_frozen_is_frozen_when_freeze_returns(box: Box) -> None:
    child = box.start("sh", "-c", "while :; do :; done")

    def ticks() -> int:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11])

    box.cgroup.freeze()
    before = ticks()
    assert box.cgroup.is_frozen()
    time.sleep(0.1)
    assert ticks() == before
    box.cgroup.thaw()
    assert not box.cgroup.is_frozen()


@root
@pytest.mark.kernel("cgroup1")
def test_v1_freezes_where_there_is_nothing_else_and_sigkill_kills_what_it_froze(box: Box) -> None:
    only = Cgroup([place for place in box.places if not place.unified])
    child = box.start("sleep", "100")

    only.freeze()
    assert only.is_frozen()
    assert box.cgroup.is_frozen()
    only.kill_all(signal.SIGTERM)
    assert child.poll() is None
    only.thaw()
    assert child.wait(timeout=10) == -signal.SIGTERM

    other = box.start("sleep", "100")
    only.freeze()
    only.kill_all()
    assert other.wait(timeout=10) == -signal.SIGKILL


@root
def test_a_signal_reaches_cgroups_beneath_and_they_are_removed(box: Box) -> None:
    for place in box.places:
        below = Path(place.directory, "sub", "sub")
        below.mkdir(parents=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            for each in (below.parent, below):
                if (each / file).exists() and not place.unified:
                    (each / file).write_text(Path(place.directory, file).read_text())
    child = box.start("sleep", "100", sub="sub/sub")

    assert box.cgroup.pids() == []
    assert box.cgroup.pids(recursive=True) == [child.pid]
    box.cgroup.kill_all(signal.SIGTERM)
    assert child.wait(timeout=10) == -signal.SIGTERM


@root
def test_delete_waits_for_the_dying(box: Box) -> None:
    child = box.start("sleep", "100")
    timer = threading.Timer(0.2, child.kill)
    timer.start()

    box.cgroup.delete()

    timer.join()
    assert not box.cgroup.exists()


@root
@pytest.mark.kernel("cgroup1")
def test_limits_are_real_on_v1(box: Box) -> None:
    mega = 1 << 20
    first = Resources(
        memory=Memory(limit=32 * mega, swap=64 * mega),
        cpu=Cpu(shares=512, quota=50000, period=100000, cpus="0"),
        pids=20,
    )

    assert box.cgroup.apply(first) == []
    assert box.read("memory", "memory.memsw.limit_in_bytes") == f"{64 * mega}\n"
    assert box.read("cpuset", "cpuset.cpus") == "0\n"
    for limit in (128, 16):  # raise, then lower
        memory = Memory(limit=limit * mega, swap=2 * limit * mega)
        assert box.cgroup.update(Resources(memory=memory)) == []
        assert box.read("memory", "memory.limit_in_bytes") == f"{limit * mega}\n"
    assert box.cgroup.update(Resources(memory=Memory(limit=-1), cpu=Cpu(quota=-1), pids=-1)) == []
    assert box.read("cpu", "cpu.cfs_quota_us") == "-1\n"
    assert box.read("cpu", "cpu.shares") == "512\n"
    box.cgroup.update(Resources(cpu=Cpu(quota=2000, burst=1000)))
    box.cgroup.update(Resources(cpu=Cpu(quota=6000, burst=5000)))
    box.cgroup.update(Resources(cpu=Cpu(quota=1000, burst=500)))
    with pytest.raises(HostError, match=r"for `linux\.resources\.cpu\.cpus`"):
        box.cgroup.update(Resources(cpu=Cpu(cpus="4000")))


@root
@pytest.mark.kernel("cgroup1")
def test_numbers_and_the_death_for_want_of_memory_are_seen_on_v1(box: Box) -> None:
    mega = 1 << 20
    box.cgroup.apply(Resources(memory=Memory(limit=16 * mega, swap=16 * mega), pids=50))

    assert not box.cgroup.out_of_memory()
    box.run("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")

    data = box.cgroup.stats()
    assert box.cgroup.out_of_memory()
    assert data["memory"]["usage"]["limit"] == 16 * mega
    assert data["cpu"]["usage"]["total"] > 0
    assert data["pids"]["limit"] == 50
    json.dumps(data)


@root
def test_devices_are_guarded_and_changed(box: Box) -> None:
    def can_open(path: str) -> bool:
        said = box.run("sh", "-c", f"exec 3<{path} && echo fine").strip()
        assert said == "fine" or said.endswith("Operation not permitted"), said
        return said == "fine"

    deny, log = DeviceRule(False), DeviceRule(True, "c", 1, 11, "r")

    assert can_open("/dev/kmsg")
    box.cgroup.apply(Resources(devices=(deny,)))
    assert (can_open("/dev/full"), can_open("/dev/kmsg")) == (True, False)
    box.cgroup.update(Resources(devices=(deny, log)))
    assert (can_open("/dev/full"), can_open("/dev/kmsg")) == (True, True)
    box.cgroup.update(Resources(pids=None))
    assert can_open("/dev/kmsg")
    box.cgroup.update(Resources(devices=(deny,)))
    assert (can_open("/dev/full"), can_open("/dev/kmsg")) == (True, False)


ONLY_CGROUP2 = """
    mount --make-rprivate /
    [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 none /sys/fs/cgroup
    exec "$@"
"""


@root
@pytest.mark.kernel("cgroup2")
def test_a_machine_with_cgroup2_alone() -> None:
    """The tests above once more, in a mount namespace that shows nothing but cgroup2."""
    names = [
        "test_a_process_is_in_every_hierarchy_and_nothing_is_left",
        "test_a_clone_is_born_in_the_unified_cgroup",
        "test_another_process_can_act_on_what_one_wrote_down",
        "test_what_is_written_down_before_it_is_made_can_be_removed",
        "test_a_cgroup_with_somebody_in_it_is_refused_and_stays",
        "test_who_comes_second_is_refused_and_removes_nothing",
        "test_frozen_is_frozen_when_freeze_returns",
        "test_a_signal_reaches_cgroups_beneath_and_they_are_removed",
        "test_delete_waits_for_the_dying",
        "test_devices_are_guarded_and_changed",
    ]
    tests = [f"{__file__}::{name}" for name in names]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ONLY_CGROUP2, "sh", sys.executable, "-m", "pytest", "-q",
         "-p", "no:cacheprovider", *tests],
        cwd=TREE, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} passed" in done.stdout


@root
@pytest.mark.kernel("cgroup2")
def test_a_change_of_devices_leaves_one_program() -> None:
    lines = """
        from buildkit_py.oci.runtime_config import DeviceRule, Resources
        from buildkit_py.runtime.kernel import oci_device_rules
        from tests.runtime.kernel.test_oci_cgroups import Box
        box = Box()
        try:
            fd, _ = box.cgroup.enter()
            box.cgroup.apply(Resources())
            for _ in range(3):
                box.cgroup.update(Resources(devices=(DeviceRule(False),)))
            print(len(oci_device_rules._attached(fd)))
        finally:
            box.close()
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ONLY_CGROUP2, "sh", sys.executable, "-c",
         textwrap.dedent(lines)],
        env={**os.environ, "PYTHONPATH": str(TREE)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def without_root(act: Callable[[], None]) -> None:
    """Call a function in a child that is nobody."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@root
def test_a_user_without_any_cgroup_gets_none() -> None:
    def act() -> None:
        host = detect(rootless=True)
        assert host.hierarchies
        assert plan_paths("", "box", host) == ()

    without_root(act)


@root
@pytest.mark.kernel("cgroup2")
def test_a_user_makes_cgroups_beneath_one_that_was_given_away(box: Box) -> None:
    box.cgroup.delegate(65534, 65534)
    fd, join = box.cgroup.enter()
    join.append(os.open("cgroup.procs", os.O_WRONLY, dir_fd=fd))

    def act() -> None:
        places = plan_paths("", "inner", detect(rootless=True))
        assert [place.path for place in places] == [f"pyruntime/{box.id}/pyruntime/inner"]
        cgroup = Cgroup.prepare(places, guards_devices=False)
        cgroup.create()
        assert cgroup.apply(Resources(devices=(DeviceRule(False),))) == []
        assert cgroup.exists()
        cgroup.delete()
        assert not Path(places[0].directory).parent.exists()

    pid = os.fork()
    if pid == 0:
        for each in join:
            os.write(each, b"0")
        try:
            without_root(act)
            os._exit(0)
        finally:
            os._exit(1)
    for each in (fd, *join):
        os.close(each)
    assert os.waitpid(pid, 0)[1] == 0


@root
def test_containers_that_share_a_path_leave_nothing_whoever_goes_last() -> None:
    folder = f"test-{secrets.token_hex(4)}"
    host = detect(rootless=False)
    first = Cgroup.prepare(plan_paths(f"{folder}/a", "x", host))
    first.create()
    second = Cgroup.prepare(plan_paths(f"{folder}/b", "x", host))
    second.create()

    first.delete()
    assert second.exists()
    second.delete()

    folders = [Path(place.directory).parent for place in second.places]
    assert [path for path in folders if path.exists()] == []


@root
def test_an_empty_cgroup_freezes_too(box: Box) -> None:
    box.cgroup.freeze()
    assert box.cgroup.is_frozen()
    box.cgroup.thaw()
    assert not box.cgroup.is_frozen()


@root
@pytest.mark.kernel("cgroup1")
def test_who_forks_all_the_time_dies_without_cgroup_kill_too(box: Box) -> None:
    only = Cgroup([place for place in box.places if not place.unified])
    only.apply(Resources(pids=100))
    box.start("sh", "-c", "while :; do sh -c 'sleep 0.01; sleep 0.01' & sleep 0.005; done")

    only.kill_all()

    deadline = time.monotonic() + 10
    while only.pids(recursive=True) and time.monotonic() < deadline:
        box.programs[0].poll()
        time.sleep(0.01)
    assert only.pids(recursive=True) == []
    assert not only.is_frozen()
