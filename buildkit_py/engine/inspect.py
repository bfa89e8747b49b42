"""All that is known of a container, in the words of docker's API (engine facts: what clients read).

Pure: one `Known` in, plain data out. Fields that we have nothing to say about are left out rather
than invented.
"""

from __future__ import annotations

from typing import Any

from buildkit_py.engine.containers import Health, Known
from buildkit_py.runtime.spec import Bind, Overlay, Tmpfs

_NEVER = "0001-01-01T00:00:00Z"


def inspect(known: Known) -> dict[str, Any]:
    """Return what `docker inspect` shows of a container."""
    spec, state = known.spec, known.state
    container = spec.container
    return {
        "Id": spec.id,
        "Created": spec.created,
        "Path": container.args[0],
        "Args": list(container.args[1:]),
        "State": _state(known),
        "Image": spec.image_id,
        "LogPath": f"{known.directory}/log.json",
        "Name": f"/{spec.name}",
        "RestartCount": state.restarts,
        "Driver": "overlay" if isinstance(container.root, Overlay) else "copy",
        "Platform": "linux",
        "HostConfig": {
            "Binds": [
                f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}"
                for mount in container.mounts
                if isinstance(mount, Bind) and _volume(known, mount) is None
            ],
            "NetworkMode": _network_mode(known),
            "PortBindings": _bindings(known),
            "RestartPolicy": {"Name": spec.restart.name, "MaximumRetryCount": spec.restart.most},
            "AutoRemove": spec.auto_remove,
            "Init": container.init,
            "SecurityOpt": ["no-new-privileges"] if container.no_new_privileges else None,
            "ReadonlyRootfs": container.read_only,
            "Memory": container.limits.memory_bytes,
            "MemoryReservation": container.limits.reservation_bytes,
            "MemorySwap": container.limits.swap_bytes,
            "NanoCpus": int(container.limits.cpus * 1e9),
            "PidsLimit": container.limits.pids or None,
            "ShmSize": container.shm_bytes,
            "ExtraHosts": [f"{name}:{address}" for name, address in spec.hosts],
            "Sysctls": dict(container.sysctls),
            "LogConfig": {"Type": spec.log.driver, "Config": dict(spec.log.options)},
            "Tmpfs": {m.target: "" for m in container.mounts if isinstance(m, Tmpfs)},
        },
        "Mounts": [_mount(known, m) for m in container.mounts if isinstance(m, Bind)],
        "Config": {
            "Hostname": container.hostname,
            "Domainname": container.domainname,
            "User": f"{container.account.uid}:{container.account.gid}",
            "Tty": container.terminal,
            "OpenStdin": spec.stdin_open,
            "Env": list(container.env),
            "Cmd": list(container.args),
            "Entrypoint": None,
            "Image": spec.image,
            "WorkingDir": container.cwd,
            "Labels": dict(spec.labels),
            "ExposedPorts": {port: {} for port in spec.exposed_ports},
            "StopSignal": str(spec.stop_signal),
            "StopTimeout": spec.stop_seconds,
        },
        "NetworkSettings": {
            "Ports": _ports(known),
            "Networks": {
                each.network: {
                    "Aliases": _aliases(known, each.network),
                    "DNSNames": list(each.names),
                    "Gateway": each.gateway,
                    "IPAddress": each.address,
                    "IPPrefixLen": each.prefix,
                    "MacAddress": each.mac,
                }
                for each in state.endpoints
            }
            or {use.name: {"Aliases": list(use.aliases), "IPAddress": ""} for use in spec.networks},
        },
    }


def _state(known: Known) -> dict[str, Any]:
    state = known.state
    data: dict[str, Any] = {
        "Status": state.status,
        "Running": known.running,
        "Paused": False,
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom,
        "Dead": False,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started or _NEVER,
        "FinishedAt": state.finished or _NEVER,
    }
    if known.spec.healthcheck is not None:
        health = state.health or Health()
        data["Health"] = {
            "Status": health.status,
            "FailingStreak": health.streak,
            "Log": [
                {
                    "Start": probe.start,
                    "End": probe.end,
                    "ExitCode": probe.code,
                    "Output": probe.output,
                }
                for probe in health.log
            ],
        }
    return data


def _network_mode(known: Known) -> str:
    spec = known.spec
    if spec.network_mode != "networks":
        return spec.network_mode
    return spec.networks[0].name if spec.networks else "bridge"


def _aliases(known: Known, network: str) -> list[str]:
    return [alias for use in known.spec.networks if use.name == network for alias in use.aliases]


def _bindings(known: Known) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for port in known.spec.ports:
        row = {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
        found.setdefault(f"{port.container_port}/{port.protocol}", []).append(row)
    return found


def _ports(known: Known) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(known.spec.exposed_ports)
    for port in known.state.ports:
        key = f"{port.container_port}/{port.protocol}"
        addresses = (port.host_ip,) if port.host_ip else ("0.0.0.0", "::")
        rows = [{"HostIp": address, "HostPort": str(port.host_port)} for address in addresses]
        found[key] = (found.get(key) or []) + rows
    return found


def _volume(known: Known, mount: Bind) -> str | None:
    """Return the name of the volume that a mount shows, None for one of the host's paths."""
    parts = mount.source.rsplit("/", 2)
    if len(parts) == 3 and parts[2] == "_data":
        name = parts[1]
        if name in known.spec.volumes or name in known.spec.anonymous:
            return name
    return None


def _mount(known: Known, mount: Bind) -> dict[str, Any]:
    name = _volume(known, mount)
    data: dict[str, Any] = {"Type": "bind" if name is None else "volume"}
    if name is not None:
        data |= {"Name": name, "Driver": "local"}
    return data | {
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": "rprivate" if name is None else "",
    }
