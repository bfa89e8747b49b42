"""Rules about what `apk` is told."""
