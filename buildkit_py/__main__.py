"""`python -m buildkit_py` is `pybuild`."""

from buildkit_py.cli.pybuild import run

if __name__ == "__main__":
    run()
