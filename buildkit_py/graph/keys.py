"""Cache keys: under what the result of a step is remembered.

Three digests are kept apart (docs/caching.md). The *definition* says what a step does. The *key*
of a step joins its definition with the identity of each input: the input's result, or the digest
of just those files that the step reads from it. A *result* has an identity of its own, which later
steps build their keys upon; so a step that ran again, but whose read files came out the same,
leads its readers back to their remembered results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any, NewType

from buildkit_py.core.digest import Digest, sha256
from buildkit_py.graph.ops import Op

CacheKey = NewType("CacheKey", str)

VERSION = 1
"""Raised whenever a step of an older release could not be trusted any more."""


def definition(op: Op) -> Digest:
    """Return the digest of what a step does, leaving out what it reads."""
    return digest_of({"version": VERSION, **op.components()})


def digest_of(components: Mapping[str, Any]) -> Digest:
    """Return the digest of named components: their JSON with sorted keys."""
    text = dumps(components, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode())


def cache_key(op: Digest, inputs: Sequence[str]) -> CacheKey:
    """Return the key under which the result of one step is remembered.

    op: the step's definition
    inputs: for each input, in order, the identity of its result or the digest of the files read

    Equal keys share one result. So whatever can change the result's bytes must be in `op` or
    `inputs`, and nothing else may be: no step names, no times, no paths of this host.
    Counterpart: BuildKit solver/cachekey.go.
    """
    return CacheKey(sha256("\0".join((op, *inputs)).encode()))
