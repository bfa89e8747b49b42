"""What cannot be carried out is named at its place; what docker compose ignores too is told."""

from __future__ import annotations

import pytest

from buildkit_py.compose.carried import NotCarriedOut, check, check_builds, notices
from buildkit_py.compose.typed import typed
from tests.compose.conftest import loaded

TOP = """
networks:
  front: {}
volumes:
  data: {}
"""


def complaints(text: str) -> list[tuple[str, int]]:
    """Return the keys that are refused, each with its line."""
    found = check(typed(loaded(text)))
    assert all(isinstance(error, NotCarriedOut) for error in found)
    return [(error.label, error.at.line) for error in found if error.at is not None]


def of_service(keys: str) -> list[str]:
    """Return what is refused of the service `s`; its path below the service."""
    body = "\n".join(f"    {line}" for line in keys.split("\n"))
    text = f"services:\n  t: {{image: b}}\n  s:\n    image: b\n{body}\n{TOP}"
    return [label.removeprefix("services.s.") for label, _ in complaints(text)]


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ("privileged: true", ["privileged"]),
        ("domainname: x.org\nsecurity_opt: ['no-new-privileges:true']", []),
        ("security_opt: ['no-new-privileges', 'seccomp:x.json']", ["security_opt.1"]),
        ("network_mode: service:t", ["network_mode"]),
        ("network_mode: host", []),
        ("network_mode: host\nports: ['80:80']", ["ports"]),
        ("pull_policy: daily", ["pull_policy"]),
        ("pull_policy: build", []),
        ("networks: {front: {mac_address: '02:42:ac:11:00:02'}}", ["networks.front.mac_address"]),
        ("networks: {front: {driver_opts: {a: b}}}", ["networks.front.driver_opts"]),
        ("volumes: [{type: image, source: i, target: /t}]", ["volumes.0.type"]),
        (
            "volumes: [{type: volume, source: data, target: /t, volume: {subpath: x}}]",
            ["volumes.0.volume.subpath"],
        ),
        ("volumes: [{type: volume, source: data, target: /t, volume: {nocopy: true}}]", []),
        (
            "volumes: [{type: bind, source: /a, target: /t, bind: {propagation: shared}}]",
            ["volumes.0.bind.propagation"],
        ),
        ("ports: ['80:80/sctp']", ["ports.0.protocol"]),
        ("links: ['t']", []),
        ("links: ['t', 't:u']", ["links.1"]),
        ("logging: {driver: json-file}", []),
        ("mem_limit: 64m\nmem_reservation: 32m\nmemswap_limit: -1", []),
        ("logging: {driver: syslog}", ["logging.driver"]),
        ("logging: {driver: json-file, options: {tag: x}}", ["logging.options.tag"]),
        ("logging: {driver: local, options: {max-size: 10m, max-file: '3'}}", []),
        ("runtime: runsc", ["runtime"]),
        ("devices: ['/dev/fuse:/dev/fuse']", ["devices"]),
        ("ulimits: {nofile: 5}\nsysctls: {a: 1}\nshm_size: 1m\ngroup_add: ['5']", []),
        ("deploy: {mode: global}", ["deploy.mode"]),
        ("deploy: {mode: replicated, replicas: 2, placement: {constraints: [a]}}", []),
        ("deploy: {restart_policy: {condition: any}}", []),
        ("build: {context: ., cache_from: [x]}", ["build.cache_from"]),
        ("build: {context: 'https://example.org/x.git'}", ["build.context"]),
        ("build: {context: ., shm_size: 1m, network: none, no_cache: true}", []),
        ("build: {context: ., dockerfile_inline: FROM scratch}", []),
        (
            "build: {context: ., additional_contexts: {base: 'docker-image://x'}}",
            ["build.additional_contexts"],
        ),
        ("x-mine: {anything: goes}\ndevelop: {watch: []}", []),
    ],
)
def test_each_key_is_carried_out_or_refused(keys: str, refused: list[str]) -> None:
    assert of_service(keys) == refused


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("networks: {n: {driver: macvlan}}", "networks.n.driver"),
        ("networks: {n: {driver_opts: {a: b}}}", "networks.n.driver_opts"),
        ("networks: {n: {enable_ipv6: true}}", "networks.n.enable_ipv6"),
        (
            "networks: {n: {ipam: {config: [{subnet: 'fd00::/64'}]}}}",
            "networks.n.ipam.config.0.subnet",
        ),
        (
            "networks: {n: {ipam: {config: [{subnet: 10.9.0.0/24, ip_range: 10.9.0.0/28}]}}}",
            "networks.n.ipam.config.0.ip_range",
        ),
        ("volumes: {v: {driver: nfs}}", "volumes.v.driver"),
        ("secrets: {c: {external: true}}", "secrets.c.external"),
    ],
)
def test_shared_parts_are_checked(text: str, refused: str) -> None:
    uses = "    networks: [n]\n" if "networks" in text else ""
    uses += "    volumes: ['v:/v']\n" if "volumes" in text else ""
    uses += "    secrets: [c]\n" if "secrets" in text else ""

    assert complaints(f"services:\n  s:\n    image: b\n{uses}{text}\n")[0][0] == refused


@pytest.mark.parametrize("name", ["../../x", "a/b", ".hidden", "-x"])
@pytest.mark.parametrize("section", ["volumes", "networks"])
def test_names_that_are_paths_are_refused_at_their_place(section: str, name: str) -> None:
    use = "volumes: ['k1:/v']" if section == "volumes" else "networks: [k1]"
    text = f"services:\n  s:\n    image: b\n    {use}\n{section}:\n  k1: {{name: '{name}'}}\n"

    (error,) = check(typed(loaded(text)))

    assert name in error.message
    assert error.at is not None
    assert error.at.line == 6


def test_all_complaints_come_at_once_with_their_lines() -> None:
    found = complaints("services:\n  s:\n    image: b\n    privileged: true\n    runtime: x\n")

    assert sorted(found) == [("services.s.privileged", 4), ("services.s.runtime", 5)]


def test_what_docker_compose_ignores_is_told() -> None:
    text = (
        "services:\n  s:\n    image: b\n    deploy:\n      update_config: {parallelism: 1}\n"
        "      restart_policy: {condition: any, delay: 5s}\n"
        "      resources: {reservations: {cpus: '0.5'}}\n"
    )

    (notice,) = notices(typed(loaded(text)))

    assert notice.endswith(
        "`s`: docker compose ignores `deploy.resources.reservations`,"
        " `deploy.restart_policy.delay`, `deploy.update_config`, and so do we"
    )
    assert "compose.yaml:5" in notice or "compose.yaml:4" in notice


@pytest.mark.parametrize(
    ("networks", "is_told"), [("[in]", True), ("[in, out]", False), ("[out]", False)]
)
def test_ports_that_cannot_be_published_are_told(networks: str, is_told: bool) -> None:
    text = (
        f"services:\n  s:\n    image: b\n    networks: {networks}\n    ports: ['8080:80']\n"
        "networks: {in: {internal: true}, out: }\n"
    )

    found = [notice.partition(": ")[2] for notice in notices(typed(loaded(text)))]

    told = "the ports of `s` are not published: its networks are all internal"
    assert found == ([told] if is_told else [])


def test_a_build_is_kept_back_by_its_own_keys_alone() -> None:
    text = (
        "services:\n  s:\n    privileged: true\n    build:\n      context: .\n"
        "      cache_from: [x]\n  t: {image: b, privileged: true}\n"
    )
    found = check_builds(typed(loaded(text)))

    assert [error.label for error in found] == ["services.s.build.cache_from"]
    assert [error.at.line for error in found if error.at] == [6]
