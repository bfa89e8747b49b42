"""The OCI specifications' words as data: references, platforms, descriptors, image config. Pure."""
