"""What a build was asked for. On the no-op path: nothing heavy may be imported here."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Output:
    """One `--output`: its type and its keys."""

    __slots__ = ("attributes", "type")

    def __init__(self, type: str, attributes: Mapping[str, str]) -> None:
        self.type = type
        self.attributes = dict(attributes)

    def __repr__(self) -> str:
        return f"Output({self.type!r}, {self.attributes!r})"


class BuildRequest:
    """Everything that decides about one build.

    root: absolute state root
    context: absolute path of the context directory
    file: path of the Dockerfile as given, None for the default names in the context
    text: the Dockerfile itself, where it is no file; `file` is only what messages call it then
    build_args, labels: by name, in the order given
    platform: as written, None for this machine's
    outputs: besides the image in the store
    allow: what the Dockerfile may do besides, such as `network.host`
    """

    __slots__ = (
        "add_hosts",
        "allow",
        "build_args",
        "context",
        "file",
        "iidfile",
        "jobs",
        "labels",
        "metadata_file",
        "network",
        "no_cache",
        "no_cache_filter",
        "outputs",
        "platform",
        "pull",
        "quiet",
        "root",
        "secrets",
        "shm_size",
        "source_date_epoch",
        "strict",
        "tags",
        "target",
        "text",
        "ulimits",
    )

    def __init__(
        self,
        *,
        root: str,
        context: str,
        file: str | None = None,
        text: str | None = None,
        tags: tuple[str, ...] = (),
        build_args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str | None = None,
        platform: str | None = None,
        pull: bool = False,
        no_cache: bool = False,
        no_cache_filter: tuple[str, ...] = (),
        network: str = "default",
        add_hosts: tuple[str, ...] = (),
        allow: tuple[str, ...] = (),
        secrets: tuple[str, ...] = (),
        shm_size: int = 0,
        ulimits: tuple[str, ...] = (),
        outputs: tuple[Output, ...] = (),
        iidfile: str | None = None,
        metadata_file: str | None = None,
        quiet: bool = False,
        jobs: int = 0,
        strict: bool = False,
        source_date_epoch: int | None = None,
    ) -> None:
        self.root = root
        self.context = context
        self.file = file
        self.text = text
        self.tags = tags
        self.build_args = dict(build_args or {})
        self.labels = dict(labels or {})
        self.target = target
        self.platform = platform
        self.pull = pull
        self.no_cache = no_cache
        self.no_cache_filter = no_cache_filter
        self.network = network
        self.add_hosts = add_hosts
        self.allow = allow
        self.secrets = secrets
        self.shm_size = shm_size
        self.ulimits = ulimits
        self.outputs = outputs
        self.iidfile = iidfile
        self.metadata_file = metadata_file
        self.quiet = quiet
        self.jobs = jobs
        self.strict = strict
        self.source_date_epoch = source_date_epoch

    def identity(self) -> str:
        """Return a text that is equal for requests which ask for the same image."""
        parts = [
            self.context,
            os.path.abspath(self.file) if self.file is not None else "",
            self.target or "",
            self.platform or "",
            self.network,
            f"d {self.text}" if self.text is not None else "",
            str(self.shm_size),
            str(self.source_date_epoch),
            str(self.strict),
            *(f"t {tag}" for tag in self.tags),
            *(f"a {name}={value}" for name, value in sorted(self.build_args.items())),
            *(f"l {name}={value}" for name, value in self.labels.items()),
            *(f"h {host}" for host in self.add_hosts),
            *(f"e {name}" for name in sorted(self.allow)),
            *(f"s {secret}" for secret in self.secrets),
            *(f"u {limit}" for limit in self.ulimits),
        ]
        return "\0".join(parts)
