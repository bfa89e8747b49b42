"""The namespace and cgroup backend: a plan of set-up operations, run in a cloned child."""
