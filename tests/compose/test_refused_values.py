"""Values that docker's daemon would refuse in the middle of `up`, told where they are written."""

from __future__ import annotations

import pytest

from buildkit_py.cli import compose_config, pycompose
from buildkit_py.compose import host_ports
from buildkit_py.compose.discover import Request
from buildkit_py.compose.load import Loading, Options
from buildkit_py.compose.project import checked
from buildkit_py.core.errors import InputError
from tests.compose.conftest import loaded, world


def refused(body: str, top: str = "") -> list[tuple[str, str]]:
    """Return what is refused of the service `s`: the message, and the text that is underlined."""
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    text = f"name: app\nservices:\n  s:\n    image: b\n{lines}\n{top}"
    project = checked(Request(), Loading(world({"compose.yaml": text}), Options()))
    return [(error.message, error.at.text if error.at else "") for error in project.refused]


def host_ports_of(body: str, other: str = "") -> list[tuple[str, str]]:
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    text = f"services:\n  s:\n    image: b\n{lines}\n{other}"
    project = checked(Request(), Loading(world({"compose.yaml": text}), Options()))
    found = host_ports.check(project)
    return [(error.message, error.at.text if error.at else "") for error in found]


NETWORKS = "volumes: {v1: }\nnetworks: {m: {ipam: {config: [{subnet: 10.9.0.0/24}]}}, o: {}}"
LIMIT = "a limit of memory is 6 MiB at the least"


@pytest.mark.parametrize(
    ("yaml", "message", "underlined"),
    [
        ("ulimits: {nosuch: 5}", "`services.s.ulimits.nosuch`: there is no such limit", "nosuch"),
        ("ulimits: {core: -2}", "`services.s.ulimits.core`: `-2` is no limit", "-2"),
        ("ulimits: {core: {soft: 1, hard: -2}}", "`services.s.ulimits.core.hard`", "-2"),
        ("ulimits: {core: {soft: 2, hard: 1}}", "`services.s.ulimits.core.soft`: the soft", "2"),
        ("ulimits: {core: {soft: -1, hard: 1}}", "`services.s.ulimits.core.soft`: the soft", "-1"),
        ("cpus: -1", "`services.s.cpus`: `-1` is no amount: it must be 0 or more", "-1"),
        ("mem_limit: -1", "`services.s.mem_limit`: `-1` is no amount", "-1"),
        ("shm_size: -1", "`services.s.shm_size`", "-1"),
        (
            "memswap_limit: -2",
            "`services.s.memswap_limit`: `-2` is no amount: it must be 0 or",
            "-2",
        ),
        (
            "pids_limit: -2",
            "`services.s.pids_limit`: `-2` is no amount: it must be 0 or more,",
            "-2",
        ),
        (
            "deploy: {resources: {limits: {cpus: '-1'}}}",
            "`services.s.deploy.resources.limits",
            "'-1'",
        ),
        (
            "deploy: {resources: {limits: {memory: '-1'}}}",
            "`services.s.deploy.resources.limi",
            "'-1'",
        ),
        (
            "deploy: {resources: {limits: {pids: -2}}}",
            "`services.s.deploy.resources.limits.p",
            "-2",
        ),
        ("mem_limit: 1k", LIMIT, "1k"),
        ("deploy: {resources: {limits: {memory: 1k}}}", LIMIT, "1k"),
        ("mem_reservation: 1m", "a reservation of memory is 6 MiB at the least", "1m"),
        ("memswap_limit: 64m", "a limit of memory and swap needs a limit of memory", "64m"),
        ("mem_limit: 64m\nmemswap_limit: 32m", "the limit of memory and swap together", "32m"),
        ("volumes: ['rel']", "`services.s.volumes.0.target`: the mount path `rel` must", "'rel'"),
        ("volumes: [{type: tmpfs, target: x/y}]", "`services.s.volumes.0.target`", "x/y"),
        (
            "volumes: [./here:/]",
            "`services.s.volumes.0.target`: nothing can be mounted",
            "./here:/",
        ),
        ("tmpfs: run", "`run` names no absolute path for a tmpfs", "run"),
        (
            "tmpfs: [/run, '/x:size=big']",
            "the option `size=big` of the tmpfs `/x` is no size",
            "'/x:size=big'",
        ),
        ("tmpfs: /run:sync", "unknown option `sync` of the tmpfs `/run`", "/run:sync"),
        ("cap_add: [FOO]", "`services.s.cap_add.0`: there is no capability `FOO`", "FOO"),
        ("cap_drop: [ALL, CAP_NETADMIN]", "`services.s.cap_drop.1`", "CAP_NETADMIN"),
        ("working_dir: app", "`services.s.working_dir`: the working directory `app` must", "app"),
        ("stop_signal: SIGFOO", "invalid signal: SIGFOO", "SIGFOO"),
        ("stop_grace_period: -1s", "`services.s.stop_grace_period`: `-1s` is negative", "-1s"),
        ("healthcheck: {interval: 1us}", "`services.s.healthcheck.interval`: `1µs` is less", "1us"),
        ("healthcheck: {timeout: -1s}", "`services.s.healthcheck.timeout`: `-1s` is less", "-1s"),
        ("healthcheck: {retries: -1}", "`services.s.healthcheck.retries`: `-1` is negative", "-1"),
        (
            "extra_hosts: [z=::1, a=here]",
            "`services.s.extra_hosts.1`: `here` is no IP address",
            "a=here",
        ),
        ("extra_hosts: {z: [here]}", "`services.s.extra_hosts.z`: `here` is no IP", "[here]"),
        (
            "networks: {m: {ipv4_address: 10.9.1.1}}",
            "`services.s.networks.m.ipv4_address`",
            "10.9.1.1",
        ),
        (
            "networks: {m: {ipv4_address: ten}}",
            "`services.s.networks.m.ipv4_address`: `ten`",
            "ten",
        ),
        (
            "networks: {m: {ipv6_address: 10.9.0.5}}",
            "`services.s.networks.m.ipv6_address`",
            "10.9.0.5",
        ),
        (
            "networks: {o: {ipv4_address: 10.9.0.5}}",
            "`services.s.networks.o.ipv4_address`: the",
            "10.9.0.5",
        ),
        (
            "scale: 99999999999999999999",
            "`services.s.scale`: a service has 10000 containers at",
            "9" * 20,
        ),
        ("deploy: {replicas: 10001}", "`services.s.deploy.replicas`: a service has 10000", "10001"),
        ("container_name: ab/c", "invalid container name `ab/c`", "ab/c"),
        (f"hostname: {'h' * 65}", "`services.s.hostname`: a host's name has 64 bytes", "h" * 65),
        ("volumes: ['v1:/proc']", "`services.s.volumes.0.target`: nothing can be", "'v1:/proc'"),
        ("volumes: ['/proc/x']", "`services.s.volumes.0.target`: nothing can be", "'/proc/x'"),
        (
            "networks: {m: {ipv4_address: 10.9.0.0}}",
            "`services.s.networks.m.ipv4_address`: `10.9.0.0` is the network's own",
            "10.9.0.0",
        ),
        (
            "networks: {m: {ipv4_address: 10.9.0.1}}",
            "`services.s.networks.m.ipv4_address`: `10.9.0.1` is the gateway",
            "10.9.0.1",
        ),
        (
            "networks: {m: {ipv4_address: 10.9.0.255}}",
            "`services.s.networks.m.ipv4_address`: `10.9.0.255` is the network's broad",
            "10.9.0.255",
        ),
        (r'command: [a, "b\0"]', "`services.s.command.1`: it holds a zero byte", r'"b\0"'),
        (r'environment: {A: "b\0"}', "`services.s.environment.A`: it holds a zero", r'"b\0"'),
        (r'labels: {a: "b\0"}', "`services.s.labels.a`: it holds a zero byte", r'"b\0"'),
        ("restart: often", "`services.s.restart`: `often` is no restart policy", "often"),
        ("restart: on-failure:x", "`services.s.restart`: `on-failure:x` is no", "on-failure:x"),
        ("platform: a/b/c/d", "invalid platform `a/b/c/d`", "a/b/c/d"),
        ("logging: {options: {max-size: big}}", "`max-size` is a positive size such as", "big"),
        ("logging: {options: {max-file: 0}}", "`max-file` is a number from 1 to 10000", "0"),
        ("expose: [80, 80/icmp]", "invalid proto `icmp` in `80/icmp`", "80/icmp"),
    ],
)
def test_a_value_is_refused_at_its_text(yaml: str, message: str, underlined: str) -> None:
    [(found, text)] = refused(yaml, NETWORKS)

    assert found.startswith(message)
    assert text == underlined


@pytest.mark.parametrize(
    ("pool", "message", "underlined"),
    [
        ("{subnet: 10.0.0.0/33}", "`10.0.0.0/33` is no subnet", "10.0.0.0/33"),
        ("{subnet: 10.0.0.1/24}", "`10.0.0.1/24` has bits behind its prefix", "10.0.0.1/24"),
        ("{subnet: 10.0.0.0}", "`10.0.0.0` has no prefix length", "10.0.0.0"),
        ("{subnet: 10.0.0.0/31}", "`10.0.0.0/31` must have a prefix from /8 to /30", "10.0.0.0/31"),
        ("{subnet: 10.0.0.0/24, gateway: 10.0.1.1}", "`10.0.1.1` is not in the subnet", "10.0.1.1"),
        ("{gateway: 10.0.0.1}", "a gateway needs a subnet", "10.0.0.1"),
        ("{subnet: 10.0.0.0/24, gateway: first}", "`first` is no IP address", "first"),
        ("{aux_addresses: {a: 1.2.3}}", "`1.2.3` is no IP address", "1.2.3"),
    ],
)
def test_an_address_pool_is_refused_at_its_text(pool: str, message: str, underlined: str) -> None:
    [(found, text)] = refused("networks: [n]", f"networks: {{n: {{ipam: {{config: [{pool}]}}}}}}")

    assert found.startswith("`networks.n.ipam.config.0.")
    assert message in found
    assert text == underlined


@pytest.mark.parametrize(
    "yaml",
    [
        "ulimits: {nofile: -1, core: {soft: 1, hard: -1}, locks: 5}",
        "scale: 10000",
        f"container_name: a_b.c-1\nhostname: {'h' * 64}",
        "volumes: ['/procs', '/x/proc']",
        "cpus: 0.5\nmem_limit: 0\npids_limit: -1\nmemswap_limit: -1",
        "mem_limit: 6m\nmem_reservation: 6m\nmemswap_limit: 6m",
        "volumes: ['/a', './x:/b', {type: tmpfs, target: /c}]",
        "tmpfs: /run:size=64k,uid=5,gid=6,mode=700,nr_inodes=1k,noexec,nosuid,nodev,rw",
        "cap_add: [all, net_admin, CAP_KILL]\nworking_dir: C:\\app\nstop_signal: RTMIN+3",
        "networks: {m: {ipv4_address: 10.9.0.5}}",
        "extra_hosts: [a=1.2.3.4, b=host-gateway, 'c=::1']",
        "restart: 'no'\nplatform: linux/arm64\nexpose: [80, 81-83/udp]",
        "logging: {driver: syslog, options: {tag: x}}",
        "logging: {driver: local, options: {max-size: 10m, max-file: '3'}}",
        "restart: on-failure:3\nhealthcheck: {interval: 1ms, timeout: 0s, retries: 0}",
    ],
)
def test_values_that_a_container_can_have(yaml: str) -> None:
    assert refused(yaml, NETWORKS) == []


def test_uids_of_files_are_numbers() -> None:
    body = "secrets: [{source: pw, uid: root}]"
    [(message, text)] = refused(body, "secrets: {pw: {file: ./pw}}")

    assert message == "`services.s.secrets.0.uid`: `root` is no number: names are not looked up"
    assert text == "root"


def test_targets_of_files_have_no_way_up() -> None:
    body = "secrets: [{source: pw, target: /run/../pw}]"
    [(message, text)] = refused(body, "secrets: {pw: {file: ./pw}}")

    assert message == "`services.s.secrets.0.target`: a target has no `..`"
    assert text == "/run/../pw"


TWICE = "`services.t.ports.0`: the host port 80 is already that of another port of `s`"


@pytest.mark.parametrize(
    ("ports", "others", "found"),
    [
        ("['80:1']", "['80:2']", [(TWICE, "'80:2'")]),
        ("['79-81:1-3']", "['127.0.0.1:80:2']", [(TWICE, "'127.0.0.1:80:2'")]),
        ("['80:1']", "['80:1/udp']", []),
        ("['127.0.0.1:80:1']", "['127.0.0.2:80:1']", []),
        ("['0.0.0.0:80:1']", "['[::]:80:1']", []),
        ("['80-85:1']", "['80:1']", []),
        ("['1']", "['1', '0:1']", []),
    ],
)
def test_a_host_port_is_taken_once(ports: str, others: str, found: list[tuple[str, str]]) -> None:
    assert host_ports_of(f"ports: {ports}", f"  t: {{image: b, ports: {others}}}") == found


def test_a_service_takes_a_host_port_once() -> None:
    [(message, _)] = host_ports_of("ports: ['80:1', '80:2']")

    assert message.endswith("the host port 80 is already that of another port of this service")


def test_a_service_without_containers_takes_no_port() -> None:
    assert host_ports_of("ports: ['80:1']\nscale: 0", "  t: {image: b, ports: ['80:1']}") == []


def test_a_service_of_two_with_one_port_can_be_run() -> None:
    files = {
        "compose.yaml": "services: {a: {image: b, ports: ['80:1']}, c: {image: b, ports: ['80:1']}}"
    }

    assert list(loaded(files, "a").services) == ["a"]
    with pytest.raises(InputError, match="host port 80 is already"):
        loaded(files)


def test_unknown_limits_list_the_known_ones() -> None:
    text = "services: {s: {image: b, ulimits: {nofiles: 5}}}"
    project = checked(Request(), Loading(world({"compose.yaml": text}), Options()))
    error: InputError = project.refused[0]

    assert error.hint == "did you mean `nofile`?"
    assert "`nice`, `nofile`, `nproc`" in error.label


def test_config_warns_of_what_it_prints_and_its_check_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "services:\n  s:\n    image: b\n    cap_add: [FOO]\n    cpus: -1\n"
    here = world({"compose.yaml": text})
    monkeypatch.setattr(compose_config, "world", lambda: here)

    printed = pycompose.main(["config"])
    out, err = capsys.readouterr()
    checked_only = pycompose.main(["config", "-q"])

    assert printed == 0
    assert "- FOO" in out
    assert err.count("warning[compose/bad-value]") == 2
    assert " --> compose.yaml:4:15\n" in err
    assert checked_only == 2
    assert capsys.readouterr().err.strip() == err.replace("warning[", "error[").strip()


def test_a_name_of_an_image_is_one() -> None:
    text = "services: {s: {image: busy box}}"
    project = checked(Request(), Loading(world({"compose.yaml": text}), Options()))
    error: InputError = project.refused[0]

    assert error.message.startswith("invalid image reference `busy box`")
    assert error.at is not None
    assert error.at.text == "busy box"


def test_an_unknown_option_of_a_volume_is_told_and_ignored() -> None:
    text = "services:\n  s: {image: b, volumes: ['./a:/x:zz,ro', './b:/y:cached,Z', 'v1:/z']}\n"
    loading = Loading(world({"compose.yaml": f"{text}volumes: {{v1: }}\n"}), Options())

    project = checked(Request(), loading)

    [warning] = loading.warnings
    assert warning.startswith("compose.yaml:2:")
    assert warning.endswith("`./a:/x:zz,ro`: there is no option `zz`; it is ignored")
    assert project.services["s"]["volumes"][0]["read_only"] is True
