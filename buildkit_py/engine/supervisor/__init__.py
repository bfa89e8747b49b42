"""The process that looks after a group of containers: a project's, or a single one."""
