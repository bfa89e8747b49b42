"""Compose files: YAML to a merged tree, to a checked model; nothing here touches the machine."""
