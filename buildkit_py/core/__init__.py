"""Ground floor: sources, errors, digests, locks, directories, events. Standard library only."""
