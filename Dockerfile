# buildkit_py in an image of its own: pybuild, pyengine, and what they use of the system.
#
#   pybuild -t buildkit-py .
#   pyengine run --rm buildkit-py --version
FROM debian:bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv
RUN python3 -m venv /opt/buildkit-py
WORKDIR /src
COPY pyproject.toml README.md hatch_build.py ./
COPY grammars grammars
COPY buildkit_py buildkit_py
RUN /opt/buildkit-py/bin/pip install --no-cache-dir .

FROM debian:bookworm
# uidmap and passt are for builds of users without rights.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates passt python3 uidmap \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/buildkit-py /opt/buildkit-py
ENV PATH=/opt/buildkit-py/bin:$PATH
VOLUME /var/lib/buildkit-py
WORKDIR /work
ENTRYPOINT ["pybuild"]
CMD ["--help"]
