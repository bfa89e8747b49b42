"""Platforms: `linux/amd64`, `linux/arm64/v8`. Source: containerd/platforms."""

from __future__ import annotations

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
    "i386": "386", "i486": "386", "i586": "386", "i686": "386", "386": "386",
    "armv7l": "arm", "armhf": "arm", "armel": "arm", "arm": "arm", "armv6l": "arm",
    "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64",
    "loong64": "loong64", "mips64le": "mips64le", "mips64": "mips64le",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        text = f"{self.os}/{self.architecture}"
        return f"{text}/{self.variant}" if self.variant else text

    def accepts(self, other: Platform) -> bool:
        """Tell whether an image for `other` runs here, without emulation."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        return self._level() >= other._level()

    def _level(self) -> int:
        default = {"arm": 7, "arm64": 8, "amd64": 1}.get(self.architecture, 0)
        digits = self.variant.removeprefix("v")
        return int(digits) if digits.isdigit() else default


def parse_platform(text: str) -> Platform:
    """Read `os/arch[/variant]`, or `arch` alone; raise InputError for anything else."""
    parts = text.strip().lower().split("/")
    if len(parts) == 1:
        parts = ["linux", *parts]
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise InputError(
            f"invalid platform `{text}`",
            code="oci/bad-platform",
            hint="write it as `linux/amd64` or `linux/arm64/v8`",
        )
    system, machine = parts[0], parts[1]
    variant = parts[2] if len(parts) == 3 else ""
    if machine == "armv6l" or machine == "armel":
        variant = variant or "v6"
    architecture = _ARCHITECTURES.get(machine, machine)
    if architecture == "arm" and not variant:
        variant = "v7"
    if architecture == "arm64" and variant in ("8", "v8"):
        variant = ""
    if architecture == "amd64" and variant == "v1":
        variant = ""
    return Platform(system, architecture, variant)


def machine_platform(machine: str) -> Platform:
    """Return the Linux platform of a machine name as uname(2) gives it."""
    return parse_platform(f"linux/{machine}")
