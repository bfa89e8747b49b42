"""A service of the model as the engine is asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.request import faults, image_of, labels_of, request_of
from buildkit_py.compose.typed import typed
from buildkit_py.dockerfile.config import BadPort
from buildkit_py.engine.containers import ContainerRequest, NetworkUse, RestartPolicy
from buildkit_py.engine.mounts import VolumeRequest
from tests.compose.conftest import FOLDER, loaded


def requested(
    keys: str, top: str = "", *, contents: dict[tuple[str, str], bytes] | None = None, **more: Any
) -> ContainerRequest:
    """Return the request for the service `s` whose keys are given as YAML."""
    body = "\n".join(f"    {line}" for line in keys.strip("\n").split("\n"))
    project = typed(loaded(f"name: app\nservices:\n  s:\n    image: b\n{body}\n{top}"))
    service = project.services["s"]
    return request_of(
        project, service, name="app-s-1", labels={}, contents=contents or {}, **more
    )  # fmt: skip


def test_what_is_said_of_a_process() -> None:
    made = requested(
        "command: a b\nentrypoint: []\nuser: '1:2'\nworking_dir: /w\nhostname: h\ninit: true\n"
        "read_only: true\ncap_add: [NET_ADMIN]\ncap_drop: [ALL]\ntty: true\nstdin_open: true\n"
        "environment: {A: '1', B: }\nextra_hosts: ['h:1.2.3.4', 'six=[::1]']\n"
        "stop_signal: INT\nstop_grace_period: 1m30s\nsysctls: {net.core.somaxconn: 5}\n"
        "ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}\nshm_size: 1m\ngroup_add: ['7']\n"
    )

    assert (made.image, made.name, made.command, made.entrypoint) == (
        "b",
        "app-s-1",
        ("a", "b"),
        (),
    )
    assert (made.user, made.workdir, made.hostname) == ("1:2", "/w", "h")
    assert (made.init, made.read_only, made.terminal, made.stdin_open) == (True,) * 4
    assert (made.cap_add, made.cap_drop) == (("NET_ADMIN",), ("ALL",))
    assert made.env == ("A=1", "B")
    assert made.hosts == (("h", "1.2.3.4"), ("six", "::1"))
    assert (made.stop_signal, made.stop_seconds) == ("INT", 90.0)
    assert dict(made.sysctls) == {"net.core.somaxconn": "5"}
    assert dict(made.rlimits) == {"nofile": (1, 2), "nproc": (3, 3)}
    assert (made.shm_bytes, made.groups) == (1 << 20, ("7",))


def test_limits_of_both_spellings() -> None:
    short = requested("mem_limit: 64m\ncpus: 0.5\npids_limit: 10").limits
    long = requested("deploy: {resources: {limits: {memory: 64m, cpus: '0.5', pids: 10}}}").limits

    assert (short.memory_bytes, short.cpus, short.pids) == (64 << 20, 0.5, 10)
    assert long == short


@pytest.mark.parametrize(
    ("keys", "policy"),
    [
        ("restart: 'no'", RestartPolicy("no")),
        ("restart: always", RestartPolicy("always")),
        ("restart: unless-stopped", RestartPolicy("unless-stopped")),
        ("restart: on-failure", RestartPolicy("on-failure")),
        ("restart: on-failure:3", RestartPolicy("on-failure", 3)),
        ("deploy: {restart_policy: {condition: any}}", RestartPolicy("always")),
        ("deploy: {restart_policy: {}}", RestartPolicy("always")),
        (
            "restart: always\ndeploy: {restart_policy: {condition: none}}",
            RestartPolicy("no"),
        ),
        (
            "deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}",
            RestartPolicy("on-failure", 2),
        ),
    ],
)
def test_restart_policies(keys: str, policy: RestartPolicy) -> None:
    assert requested(keys).restart == policy


@pytest.mark.parametrize("text", ["sometimes", "on-failure:x", "always:3", "on-failure:-1"])
def test_a_wrong_restart_policy_has_its_place(text: str) -> None:
    with pytest.raises(BadValue) as raised:
        requested(f"restart: {text}")

    assert raised.value.at is not None
    assert raised.value.at.line == 5


def test_ports() -> None:
    made = requested("ports: ['8080:80', '127.0.0.1:53:53/udp', '443', '9000-9001:90-91']").ports
    found = [(each.host_ip, each.host_port, each.container_port, each.protocol) for each in made]

    assert found == [
        ("", 8080, 80, "tcp"),
        ("127.0.0.1", 53, 53, "udp"),
        ("", 0, 443, "tcp"),
        ("", 9000, 90, "tcp"),
        ("", 9001, 91, "tcp"),
    ]


def test_exposed_ports() -> None:
    made = requested("expose: [80, '53/udp', '8000-8002/tcp', '80/tcp']")

    assert made.exposed_ports == ("80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp", "80/tcp")
    with pytest.raises(BadPort, match="invalid proto `icmp`") as caught:
        requested("expose: ['80/icmp']")
    assert caught.value.at is not None
    assert caught.value.at.line == 5


def test_volumes_of_all_kinds() -> None:
    made = requested(
        "volumes: ['data:/d:ro', './c:/c', '/anon', {type: tmpfs, target: /t, tmpfs:"
        " {size: 1m, mode: 0o700}}]\ntmpfs: ['/run:size=2m']",
        "volumes: {data: {}}\n",
    )

    assert made.volumes == (
        VolumeRequest("volume", "app_data", "/d", read_only=True),
        VolumeRequest("bind", f"{FOLDER}/c", "/c"),
        VolumeRequest("anonymous", "", "/anon"),
    )
    assert [(each.target, each.size_bytes, each.mode) for each in made.tmpfs] == [
        ("/run", 2 << 20, 0o1777),
        ("/t", 1 << 20, 0o700),
    ]


def test_volumes_without_a_name_go_on_in_a_successor() -> None:
    name = "a" * 64
    made = requested("volumes: ['/anon', '/new']", kept={"/anon": name, "/image": "b" * 64})

    assert made.volumes == (
        VolumeRequest("volume", name, "/anon"),
        VolumeRequest("volume", "b" * 64, "/image"),
        VolumeRequest("anonymous", "", "/new"),
    )


def test_a_bind_that_must_be_there_is_missed_at_its_place() -> None:
    with pytest.raises(BadValue, match="there is no `/nowhere/at/all` to mount") as raised:
        requested(
            "volumes: [{type: bind, source: /nowhere/at/all, target: /t,"
            " bind: {create_host_path: false}}]"
        )

    assert raised.value.at is not None
    assert raised.value.at.line == 5


def test_networks_by_priority_with_names() -> None:
    keys = "networks: {b: {aliases: [w]}, a: {priority: 5, ipv4_address: 10.9.0.7}, c: }"
    top = "networks: {a: {ipam: {config: [{subnet: 10.9.0.0/24}]}}, b: {name: real}, c: }\n"

    assert requested(keys, top).networks == (
        NetworkUse("app_a", ("s",), "10.9.0.7"),
        NetworkUse("real", ("s", "w")),
        NetworkUse("app_c", ("s",)),
    )
    assert [use.aliases for use in requested(keys, top, aliases=False).networks] == [(), (), ()]
    assert requested("network_mode: host").network_mode == "host"
    assert requested("network_mode: none").network_mode == "none"


def test_secrets_and_configs_are_files() -> None:
    made = requested(
        "secrets: [{source: pw, target: short, mode: 0400, uid: '5', gid: '6'}, plain]\n"
        "configs: [{source: conf, target: /etc/conf}]",
        "secrets: {pw: {file: ./pw}, plain: {file: ./p}}\nconfigs: {conf: {content: hello}}\n",
        contents={
            ("secrets", "pw"): b"hush",
            ("secrets", "plain"): b"\xff\n",
            ("configs", "conf"): b"hello",
        },
    )

    assert [(each.target, each.mode, each.uid, each.gid) for each in made.files] == [
        ("/run/secrets/short", 0o400, 5, 6),
        ("/run/secrets/plain", 0o444, 0, 0),
        ("/etc/conf", 0o444, 0, 0),
    ]


def test_healthchecks() -> None:
    check = requested("healthcheck: {test: curl x, interval: 2s, retries: 4}").healthcheck
    assert check is not None
    assert (check.test, check.interval, check.retries) == (("CMD-SHELL", "curl x"), 2 * 10**9, 4)

    off = requested("healthcheck: {disable: true}").healthcheck
    assert off is not None
    assert off.test == ("NONE",)
    assert requested("init: true").healthcheck is None


def test_labels_are_those_of_docker_compose() -> None:
    text = (
        "name: app\nservices:\n  db: {image: d}\n  web:\n    image: b\n    labels: {mine: '1'}\n"
        "    depends_on: {db: {condition: service_healthy, restart: true}}\n"
    )
    project = typed(loaded(text))

    found = labels_of(project, project.services["web"], 2, "cafe", files="salt:digest")

    version = found.pop("com.docker.compose.version")
    assert version
    assert found == {
        "mine": "1",
        "com.docker.compose.config-hash": "cafe",
        "com.docker.compose.container-number": "2",
        "com.docker.compose.depends_on": "db:service_healthy:true",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.project": "app",
        "com.docker.compose.project.config_files": f"{FOLDER}/compose.yaml",
        "com.docker.compose.project.working_dir": FOLDER,
        "com.docker.compose.service": "web",
        "io.buildkit-py.compose.files": "salt:digest",
    }
    oneoff = labels_of(project, project.services["web"], 1, "cafe", oneoff="0123", replaces="id")
    assert oneoff["com.docker.compose.oneoff"] == "True"
    assert oneoff["com.docker.compose.slug"] == "0123"
    assert oneoff["com.docker.compose.replace"] == "id"
    assert requested("tty: true").image_label == "com.docker.compose.image"


def test_the_image_of_a_build_has_a_name() -> None:
    project = typed(loaded("name: app\nservices:\n  a: {build: .}\n  b: {build: ., image: x:1}\n"))

    assert image_of("app", project.services["a"]) == "app-a"
    assert image_of("app", project.services["b"]) == "x:1"


def test_all_missing_binds_come_at_once_and_have_places() -> None:
    bind = "{type: bind, source: /nowhere/at/all, target: /x}"
    text = (
        f"services:\n  a: {{image: b, volumes: [{bind}]}}\n"
        f"  c:\n    image: b\n    volumes: [{bind}]\n  ok: {{image: b}}\n"
    )

    found = faults(typed(loaded(text)), {})

    assert [error.at.line for error in found if error.at is not None] == [2, 5]
