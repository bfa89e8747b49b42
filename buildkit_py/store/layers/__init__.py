"""Layers: tar streams of a snapshot's changes, read (unpack) and written (pack)."""
