# shellcheck shell=bash
# What the virtual machine consists of: a system, made once, and a payload, made for each run.
# Sourced, not run, after .ci/machine.sh; `tree` and `here` are set.

packages=(
  # Its module for NVMe disks is built in: no initial RAM disk is needed.
  linux-image-cloud-amd64
  systemd-sysv dbus dbus-user-session libpam-systemd udev kmod procps
  uidmap passt slirp4netns fuse-overlayfs nftables iproute2 busybox-static
  python3 python3-venv ca-certificates
)

# Print what tells this system from others: its packages, and all that makes it.
recipe() {
  cat "$here/system.sh" "$tree/pyproject.toml" <(debian_sources "$1") |
    sha256sum | cut -c -12
}

# Print this machine's package sources, for a release of Debian.
debian_sources() {
  (cd "$tree" && "$(find_python)" -c \
    'import sys; from fixtures.bases import host; print(host.sources(sys.argv[1]))' "$1")
}

# make_system RELEASE FOLDER WORK: make a root file system, as a folder and as a disk, and a kernel.
make_system() {
  local root=$3/root version
  say "making the system of the virtual machine, a minute or two"
  rm -rf "${2%-*}"-* "$3/root"
  debian_sources "$1" >"$3/debian.sources"
  quietly mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --include="$(IFS=, && echo "${packages[*]}")" "$1" "$root" "$3/debian.sources" ||
    fail "mmdebstrap could not make the system"
  cp "$root"/boot/vmlinuz-* "$3/kernel"
  rm -rf "$root"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
  version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  wheels "$version" "$root/wheels"
  chroot "$root" python3 -m venv /opt/venv
  quietly chroot "$root" sh -c '/opt/venv/bin/python -m pip install --no-index --no-deps /wheels/*' ||
    fail "pip could not install what the tests need"
  rm -rf "$root/wheels"
  echo /payload/site >"$root/opt/venv/lib/python$version/site-packages/payload.pth"
  configure "$root"
  mkdir "$3/system"
  mv "$root" "$3/kernel" "$3/system"
  make_disk "$3/system/root" "$3/system/disk" 2G
  mv "$3/system" "$2"
}

# wheels VERSION FOLDER: download what buildkit_py and its tests need, for a version of Python.
wheels() {
  local names python
  python=$(find_python)
  mapfile -t names < <("$python" -c '
import tomllib
project = tomllib.load(open("'"$tree"'/pyproject.toml", "rb"))["project"]
tools = ("pytest", "hypothesis")
dev = project["optional-dependencies"]["dev"]
print(*project["dependencies"], *(each for each in dev if each.startswith(tools)), sep="\n")')
  quietly "$python" -m pip download --quiet --dest "$2" --only-binary :all: \
    --python-version "$1" --implementation cp --abi "cp${1/./}" --abi abi3 --abi none \
    --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux_2_28_x86_64 --platform linux_x86_64 "${names[@]}" ||
    fail "pip could not download what the tests need"
}

# configure ROOT: a user with subordinate ids whom systemd keeps a manager for, and our service.
configure() {
  chroot "$1" useradd --create-home --shell /bin/bash bkpytest
  mkdir -p "$1/var/lib/systemd/linger" "$1/payload" "$1/var/cache"
  touch "$1/var/lib/systemd/linger/bkpytest"
  ln -s /payload/cache "$1/var/cache/buildkit-py"
  echo vm >"$1/etc/hostname"
  echo '127.0.0.1 localhost vm' >"$1/etc/hosts"
  cat >"$1/usr/local/sbin/buildkit-py-vm" <<'start'
#!/bin/sh
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount /dev/nvme0n2 /payload
exec /payload/bin/start
start
  chmod 755 "$1/usr/local/sbin/buildkit-py-vm"
  cat >"$1/etc/systemd/system/buildkit-py-vm.service" <<'unit'
[Unit]
After=multi-user.target user@1000.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/buildkit-py-vm
unit
  mkdir -p "$1/etc/systemd/system/default.target.wants"
  ln -s ../buildkit-py-vm.service "$1/etc/systemd/system/default.target.wants"
  local unit
  for unit in serial-getty@ttyS0.service getty@tty1.service systemd-timesyncd.service apt-daily.timer \
    apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
  done
}

# make_payload SYSTEM WORK COMMAND...: this tree, its wheel installed, base images, what to run.
make_payload() {
  local system=$1 work=$2 payload=$2/payload.d each
  shift 2
  mkdir -p "$payload/bin" "$payload/tree" "$payload/cache/bases" "$work/wheel"
  (cd "$tree" && git ls-files -z --cached --others --exclude-standard -- ':!.venv' |
    while IFS= read -r -d '' each; do [ ! -e "$each" ] || printf '%s\0' "$each"; done |
    tar --null --files-from=- --create) | tar --extract --no-same-owner --directory "$payload/tree"
  quietly "$(find_python)" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheel" "$payload/tree" ||
    fail "pip could not build buildkit_py"
  rm -rf "$payload/tree/build"
  rm -rf "$system/root/tmp/wheel"
  mv "$work/wheel" "$system/root/tmp/wheel"
  chroot "$system/root" sh -euc '
    /opt/venv/bin/python -m pip install --quiet --no-deps --no-index --root-user-action=ignore \
      --target /tmp/wheel/site /tmp/wheel/*.whl
    chmod -R a+rX /tmp/wheel/site' >&2 || fail "pip could not install buildkit_py"
  mv "$system/root/tmp/wheel/site" "$payload/site"
  rm -rf "$system/root/tmp/wheel"
  for each in busybox debian-plain; do
    [ ! -e "/var/cache/buildkit-py/bases/$each.tar" ] ||
      cp -p "/var/cache/buildkit-py/bases/$each.tar" "$payload/cache/bases"
  done
  cp "$here/start" "$here/as-user" "$here/as-login" "$payload/bin"
  mkdir "$payload/commands"
  for each in "$@"; do
    printf '%s\n' "$each" >"$payload/commands/$(printf %03d "$(find "$payload/commands" -type f | wc -l)")"
  done
  chown -R 1000:1000 "$payload/tree"
  chmod -R a+rX "$payload"
  make_disk "$payload" "$work/payload" 1G
  rm -rf "$payload"
}

# make_disk FOLDER FILE SIZE
make_disk() {
  quietly mke2fs -q -t ext4 -O ^has_journal -d "$1" "$2" "$3" || fail "mke2fs could not make $2"
}
