"""Where state and run-time files are. On the no-op path."""

from __future__ import annotations

import os


def state_root(given: str | None = None) -> str:
    """Return the absolute state root: the option, else the environment, else the default.

    The default is /var/lib/buildkit-py for root and $XDG_DATA_HOME/buildkit-py otherwise.
    """
    root = given or os.environ.get("BUILDKIT_PY_ROOT")
    if not root:
        if os.geteuid() == 0:
            root = "/var/lib/buildkit-py"
        else:
            data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
            root = os.path.join(data, "buildkit-py")
    return os.path.abspath(root)


def run_dir() -> str:
    """Return the directory of run-time files of this user; it may not exist yet.

    /run/buildkit-py for root, $XDG_RUNTIME_DIR/buildkit-py otherwise, and where there is no
    usable XDG_RUNTIME_DIR, /tmp/buildkit-py-UID, which `ensure_private` must be used on.
    """
    if os.geteuid() == 0:
        return "/run/buildkit-py"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK):
        return os.path.join(runtime, "buildkit-py")
    return f"/tmp/buildkit-py-{os.getuid()}"


def ensure_private(path: str) -> str:
    """Make `path` a directory of ours with mode 0700, and refuse one that is somebody else's."""
    from buildkit_py.core.errors import HostError

    os.makedirs(path, mode=0o700, exist_ok=True)
    state = os.lstat(path)
    if not os.path.isdir(path) or os.path.islink(path) or state.st_uid != os.geteuid():
        raise HostError(
            f"`{path}` belongs to somebody else",
            code="host/foreign-directory",
            hint="set XDG_RUNTIME_DIR to a directory of your own",
        )
    return path
