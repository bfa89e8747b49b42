"""Rules about what `go` is told."""
