"""Which certificates are trusted, and which one we show: TLS contexts for registries.

The system's authorities, or the file in SSL_CERT_FILE, and on top of them what lies in
`/etc/docker/certs.d/HOST:PORT/` (`~/.config/docker/certs.d` too): `*.crt` are authorities,
`NAME.cert` with `NAME.key` is a certificate of ours. As docker has it.
"""

from __future__ import annotations

import os

from buildkit_py.core.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

# Where distributions keep their authorities; asked only when this Python was built to look
# elsewhere, as Pythons from outside the distribution often are.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def context_for(host: str, folders: tuple[str, ...] | None = None) -> ssl.SSLContext:
    """Return the TLS context for `HOST[:PORT]`.

    folders: where to look for directories named after hosts; by default docker's
    Raises HostError when a file in there cannot be used.
    """
    import ssl

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not _finds_authorities():
        for bundle in _BUNDLES:
            if os.path.exists(bundle):
                context.load_verify_locations(cafile=bundle)
                break
    for folder in folders if folders is not None else default_folders():
        _add(context, os.path.join(folder, host))
    return context


def default_folders() -> tuple[str, ...]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return ("/etc/docker/certs.d", os.path.join(home, "docker", "certs.d"))


def _finds_authorities() -> bool:
    import ssl

    paths = ssl.get_default_verify_paths()
    # typeshed takes both for texts; they are None where nothing is there.
    files = [path for path in (paths.cafile, paths.capath) if path]
    return any(os.path.isfile(path) or os.listdir(path) for path in files)


def _add(context: ssl.SSLContext, folder: str) -> None:
    import ssl

    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = os.path.join(folder, name)
        stem, dot, kind = name.rpartition(".")
        pair = {"cert": "key", "key": "cert"}.get(kind if dot else "")
        if pair and f"{stem}.{pair}" not in names:
            raise HostError(
                f"`{path}` has no `{stem}.{pair}` beside it", code="registry/bad-certificates"
            )
        try:
            if kind == "crt":
                context.load_verify_locations(cafile=path)
            elif kind == "cert":
                context.load_cert_chain(path, os.path.join(folder, f"{stem}.key"))
        except (ssl.SSLError, OSError) as error:
            raise HostError(
                f"`{path}` cannot be used: {error}", code="registry/bad-certificates"
            ) from None
