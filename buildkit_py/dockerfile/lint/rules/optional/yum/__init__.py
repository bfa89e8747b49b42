"""Rules about what `yum` is told."""
