"""The Dockerfile and Compose toolchain that needs no Docker."""

__version__ = "0.1.0"
