"""Dockerfile text to AST to resolved stages to a graph of steps. Pure."""
