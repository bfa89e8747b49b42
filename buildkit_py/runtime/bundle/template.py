"""What `pyruntime spec` and `pyruntime features` print. Pure.

The template is docker's confinement in the specification's words; the features are told from the
tables that the runtime works with, so that nothing is claimed that is not done.
"""

from __future__ import annotations

from buildkit_py import __version__
from buildkit_py.oci.runtime_config import NAMESPACES
from buildkit_py.runtime.bundle import options
from buildkit_py.runtime.bundle.state import VERSION
from buildkit_py.runtime.kernel import capabilities, oci_seccomp, scheduling
from buildkit_py.runtime.plan import MASKED_PROC, MASKED_SYS, READ_ONLY_PROC
from buildkit_py.runtime.spec import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULT_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def template(*, rootless: bool, uid: int, gid: int, unified: bool) -> dict[str, Any]:
    """Return a config.json for a shell in `rootfs`.

    rootless: for a user without root: a user namespace with one id, no limits
    unified: there is cgroup2 alone; with v1 runc and crun write no cgroup namespace either
    """
    plain = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    sysfs = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*plain, "ro"]}
    namespaces = ["pid", "network", "ipc", "uts", "mount", *["cgroup"] * unified]
    linux: dict[str, Any] = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": name} for name in namespaces],
        "maskedPaths": [f"/proc/{name}" for name in MASKED_PROC]
        + [f"/sys/{name}" for name in MASKED_SYS],
        "readonlyPaths": [f"/proc/{name}" for name in READ_ONLY_PROC],
    }
    if rootless:
        del linux["resources"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    else:
        pts.append("gid=5")
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={DEFAULT_PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                name: list(_DEFAULT_CAPABILITIES) for name in ("bounding", "effective", "permitted")
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyruntime",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
            {
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": [*plain, "mode=1777", "size=65536k"],
            },
            {
                "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": plain,
            },
            sysfs,
            {
                "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": [*plain, "relatime", "ro"],
            },
        ],
        "linux": linux,
    }  # fmt: skip


def features() -> dict[str, Any]:
    """Return what this runtime carries out; runtime-spec features.md."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
            "poststop",
        ],
        "mountOptions": sorted(options.NAMES),
        "linux": {
            "namespaces": list(NAMESPACES),
            "capabilities": [f"CAP_{name}" for name in capabilities.NAMES],
            "cgroup": {
                "v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(oci_seccomp.ACTIONS),
                "operators": sorted(oci_seccomp.OPERATORS),
                "archs": sorted(oci_seccomp.ARCHITECTURES),
                "knownFlags": sorted(oci_seccomp.FLAGS),
                "supportedFlags": sorted(oci_seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
            "memoryPolicy": {
                "modes": list(scheduling.MEMORY_MODES), "flags": list(scheduling.MEMORY_FLAGS),
            },
        },
        "annotations": {"org.buildkit-py.version": __version__},
        "potentiallyUnsafeConfigAnnotations": [],
    }  # fmt: skip
