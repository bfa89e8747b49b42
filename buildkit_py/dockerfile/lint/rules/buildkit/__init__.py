"""BuildKit's checks that hadolint does not have; named as their files are."""
