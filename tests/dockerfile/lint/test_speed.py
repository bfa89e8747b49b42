"""Files made to be slow: what was once quadratic takes no more than its share of time."""

from __future__ import annotations

import time

import pytest

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.lint.run import lint
from buildkit_py.dockerfile.lint.select import select

COUNT = 1500


def texts(count: int) -> dict[str, str]:
    numbers = range(count)
    return {
        "stages that start from one another": "FROM a AS s0\n"
        + "".join(f"FROM s{n} AS s{n + 1}\nRUN pip install x\n" for n in numbers),
        "variables that have no value": "FROM scratch\n"
        + "".join(f"ENV va{n}=1\n" for n in numbers)
        + "".join(f"LABEL a{n}=$vb{n}\n" for n in numbers),
        "variables in FROM": "".join(f"ARG va{n}=1\n" for n in numbers)
        + "".join(f"FROM a$vb{n}\n" for n in numbers),
        "comments inside an instruction": "FROM a\nRUN a \\\n"
        + "# hadolint ignore=DL3006\n" * count
        + "b\n",
        "unknown codes": "FROM a\n" + "".join(f"# hadolint ignore=xx{n}\nRUN x\n" for n in numbers),
        "one long RUN": "FROM a\nRUN " + " && \\\n ".join(["apt-get install -y a | b"] * count),
        "wrappers": "FROM a\nRUN " + "sudo " * count + "x",
        "shells in shells": "FROM a\nRUN " + "sh -c 'sudo sudo a';" * count,
        "archives and who unpacks them": "FROM a\n"
        + "".join(f"COPY a{n}.tar /\nRUN tar -xf b{n}.tar\n" for n in numbers),
        "an ENV of many variables": "FROM a\nENV" + "".join(f" a{n}=$b{n}" for n in numbers) + "\n",
        "mistakes and comments above them": "FROM a\n" + "# check=skip=all\nRUM a\n" * count,
        "one long word": 'FROM a\nLABEL x="' + "".join(f"$b{n} " for n in numbers) + '"\n',
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", texts(0))
def test_time_is_linear(name: str) -> None:
    def seconds(count: int) -> float:
        source = Source("f", texts(count)[name])
        start = time.process_time()
        lint(source, selection)
        return time.process_time() - start

    selection = select("strict")._replace(preset="buildkit")
    seconds(10)

    few = min(seconds(COUNT // 5) for _ in range(3))

    assert seconds(COUNT) < 0.1 + 15 * few
