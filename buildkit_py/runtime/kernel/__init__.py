"""The only door to ctypes: system calls, mounts, capabilities, seccomp, cgroups, netlink."""
