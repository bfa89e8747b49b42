"""Attacks from the image and from the program: each is tried, and must fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.runtime.conftest import Inside

pytestmark = pytest.mark.root


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_top_directory_that_is_none_is_refused(
    inside: Inside, folder: Path, name: str, kind: str
) -> None:
    """CVE-2019-19921, CVE-2026-41579, CVE-2026-47766: nodes would be made where the link leads."""
    outside = folder / "outside"
    outside.mkdir()
    out = inside(f"""
        if {kind!r} == "link":
            os.symlink({str(outside)!r}, f"{{box.image}}/{name}")
        else:
            open(f"{{box.image}}/{name}", "w").close()
        try:
            sh("true")
        except InputError as error:
            print(error.message)
        print(os.listdir({str(outside)!r}))
    """)

    assert out.splitlines() == [f"`/{name}` of the image is not a directory", "[]"]


def test_links_of_the_image_do_not_lead_mounts_outside(inside: Inside, folder: Path) -> None:
    """CVE-2021-30465, CVE-2024-45310: places to mount on are made and found beneath the root."""
    outside = folder / "outside"
    outside.mkdir()
    out = inside(f"""
        os.mkdir(f"{{box.folder}}/data")
        os.symlink({str(outside)!r}, f"{{box.image}}/esc")
        os.symlink("../../../../../../.." + {str(outside)!r}, f"{{box.image}}/dots")
        os.symlink("/proc/self/fd", f"{{box.image}}/magic")
        source = f"{{box.folder}}/data"
        mounts = (Bind(source, "/esc/a", read_only=False), Bind(source, "/dots/b", read_only=False))
        print(sh("touch /esc/a/x /dots/b/y; ls /esc/a", mounts=mounts).out.split())
        print(os.listdir({str(outside)!r}), sorted(os.listdir(source)))
        for target in ("/magic/3", "/proc/self", "/", "/a/../../b", "/proc/sys"):
            try:
                print(sh("ls /magic/3", mounts=(Bind(source, target),)).out)
            except BuildkitError as error:
                print("refused")
    """)

    lines = out.splitlines()
    assert lines[0] == "['x', 'y']"
    assert lines[1] == "[] ['x', 'y']"
    assert lines[2:] == ["refused"] * 5


def test_a_container_that_swaps_its_mount_target_gets_nothing_of_the_host(
    inside: Inside, folder: Path
) -> None:
    """A volume shared with a racing process: the target is a directory now and a link then."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    out = inside(f"""
        shared = f"{{box.folder}}/shared"
        os.makedirs(f"{{shared}}/target")
        os.symlink({str(outside)!r}, f"{{shared}}/link")
        stop = False
        def race():
            import ctypes
            libc = ctypes.CDLL(None)
            a, b = f"{{shared}}/target".encode(), f"{{shared}}/link".encode()
            while not stop:
                libc.renameat2(-100, a, -100, b, 2)
        thread = threading.Thread(target=race, daemon=True)
        thread.start()
        os.mkdir(f"{{box.folder}}/data")
        mounts = (
            Bind(shared, "/shared", read_only=False),
            Bind(f"{{box.folder}}/data", "/shared/target", read_only=False),
        )
        ended = []
        for _ in range(60):
            try:
                sh("touch /shared/target/x /shared/link/x", mounts=mounts)
                ended.append("ran")
            except BuildkitError:
                ended.append("refused")
        stop = True
        thread.join()
        print(os.listdir({str(outside)!r}), "ran" in ended)
    """)

    assert out.strip() == "['secret'] True"


def test_stubs_are_removed_beneath_descriptors_only(inside: Inside, folder: Path) -> None:
    """CVE-2024-23652: the program exchanges the parent of a place that we made for a link."""
    outside = folder / "outside"
    (outside / "y").mkdir(parents=True)
    out = inside(f"""
        os.mkdir(f"{{box.folder}}/data")
        root = f"{{box.folder}}/root"
        os.makedirs(f"{{root}}/bin")
        import shutil
        shutil.copytree(f"{{box.image}}/bin", f"{{root}}/bin", symlinks=True, dirs_exist_ok=True)
        mounts = (Bind(f"{{box.folder}}/data", "/x/y", read_only=False),)
        result = sh('''
            mv /x /moved && ln -s {outside} /x && echo swapped
        ''', root=Directory(root), mounts=mounts)
        print(result.out.strip().splitlines()[-1])
        print(sorted(os.listdir({str(outside)!r})), sorted(os.listdir(root)))
    """)

    said, rest = out.strip().splitlines()
    assert said in ("swapped", "mv: can't rename '/x': Device or resource busy")
    assert rest.startswith("['y']")


def test_the_users_table_may_be_anything(tmp_path: Path) -> None:
    """A FIFO, a device or a huge file as /etc/passwd must not hang, and links stay inside."""
    from buildkit_py.core.errors import InputError
    from buildkit_py.runtime.users import resolve_account

    (tmp_path / "etc").mkdir()
    passwd = tmp_path / "etc/passwd"
    root = os.open(tmp_path, os.O_PATH)
    try:
        os.mkfifo(passwd)
        with pytest.raises(InputError, match="not a file"):
            resolve_account(root, "bob")
        passwd.unlink()
        passwd.symlink_to("/dev/zero")
        with pytest.raises(InputError, match="unable to find user"):
            resolve_account(root, "bob")
        passwd.unlink()
        with passwd.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(InputError, match="larger than"):
            resolve_account(root, "bob")
    finally:
        os.close(root)


def test_a_module_of_the_image_is_never_imported(inside: Inside, folder: Path) -> None:
    """The child is Python until exec: an image with our module names must not be looked at."""
    out = inside("""
        import sysconfig
        paths = [sysconfig.get_path("stdlib"), "/work", "/usr/lib/python3", os.getcwd()]
        for name in ("encodings", "resource", "signal", "socket", "errno", "buildkit_py", "ctypes"):
            for base in [*paths, *(path for path in sys.path if path)]:
                place = f"{box.image}{base}/{name}"
                os.makedirs(place, exist_ok=True)
                with open(f"{place}/__init__.py", "w") as file:
                    file.write("open('/pwned', 'w')")
        print(sh("ls /").out.split(), box.layer())
        print(run("/nosuch").exit.code, box.layer())
        print(run("nosuch", account=Account(12, 34), terminal=False).exit.code, box.layer())
        try:
            sh("true", cwd="/nosuch")
        except InputError:
            print(box.layer())
    """)

    assert "pwned" not in out
    assert out.count("[]") == 4


def test_the_callers_keyring_and_terminal_stay_the_callers(inside: Inside) -> None:
    out = inside("""
        fields = sh("cat /proc/self/stat").out.rpartition(")")[2].split()
        print("session", fields[3], "terminal", fields[4])
    """)

    words = out.split()
    assert words[1] == "1"
    assert words[3] == "0"


def test_the_host_is_out_of_reach(inside: Inside) -> None:
    """The old root is gone: no mount, no /proc of the host, nothing above the root."""
    out = inside("""
        print(sh("ls /../../..; cat /proc/1/mountinfo | wc -l; ls /proc/1/root").out.split())
        print(sh("grep -c ' - ext4 ' /proc/self/mountinfo; true").out.strip())
    """)

    first, second = out.strip().splitlines()
    assert "bin" in first
    assert "work" not in first
    assert second == "0"


def test_inserting_characters_into_a_terminal_is_impossible(inside: Inside) -> None:
    """TIOCSTI works on the controlling terminal only, and the container has another session."""
    out = inside("""
        master, slave = os.openpty()
        container = box.container("sh", "-c", "cat /dev/tty")
        null = os.open("/dev/null", os.O_RDWR)
        fd = os.open(f"{box.folder}/said", os.O_RDWR | os.O_CREAT)
        with box.zygote.create(container, stdin=slave, stdout=fd, stderr=fd) as process:
            process.start()
            process.wait()
        print(open(f"{box.folder}/said").read().strip())
    """)

    assert out.strip() == "cat: can't open '/dev/tty': No such device or address"


def test_the_hosts_python_cannot_be_overwritten(inside: Inside) -> None:
    """CVE-2019-5736: `#!/proc/self/exe` runs the program that the container was cloned from.

    Whoever holds that file must not be able to write through it: it stands on a mount of its own,
    read-only.
    """
    out = inside("""
        null = os.open("/dev/null", os.O_RDWR)
        with open(f"{box.image}/evil", "w") as file:
            file.write("#!/proc/self/exe\\n")
        os.chmod(f"{box.image}/evil", 0o755)
        with box.zygote.create(box.container("/evil"), stdin=null, stdout=null, stderr=null) as it:
            for pid in (it.pid, box.zygote.pid):
                held = os.open(f"/proc/{pid}/exe", os.O_PATH)
                print(bool(os.fstatvfs(held).f_flag & os.ST_RDONLY))
                try:
                    os.open(f"/proc/self/fd/{held}", os.O_WRONLY)
                except OSError as error:
                    print("refused")
            it.start()
            print(it.wait().code)
    """)

    assert out.split() == ["True", "refused"] * 2 + ["127"]


def test_masks_give_no_hold_of_the_hosts_devices(inside: Inside) -> None:
    """A mask is a bind of /dev/null: its mode and owner must not be the host's to change."""
    before = os.stat("/dev/null")
    out = inside("""
        print(sh("chmod 0 /proc/keys; chown 5 /proc/keys; chmod 600 /dev/null; ls /dev/null").out)
    """)
    after = os.stat("/dev/null")

    assert out.count("Read-only file system") == 2
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


def test_zero_bytes_and_large_texts(inside: Inside) -> None:
    out = inside("""
        for fields in ({"env": ("A=\\0",)}, {"cwd": "/\\0"}, {"hostname": "a\\0b"}):
            try:
                run("true", **fields)
            except InputError as error:
                print(error.code)
        files = {"/etc/hosts": "x" * 200_000}
        print(run("wc", "-c", "/etc/hosts", files=files, env=("B=" + "y" * 100_000,)).out)
    """)

    assert out.split() == ["runtime/zero-byte"] * 3 + ["200000", "/etc/hosts"]


def test_what_is_made_in_our_dev_is_not_removed_from_the_image(inside: Inside) -> None:
    out = inside("""
        os.makedirs(f"{box.image}/dev/pipes")
        os.mkdir(f"{box.folder}/data")
        mounts = (Bind(f"{box.folder}/data", "/dev/pipes"), Tmpfs("/dev/other"))
        print(sh("ls /dev/pipes", mounts=mounts, root=Directory(box.image)).exit.code)
        print(os.listdir(f"{box.image}/dev"))
    """)

    assert out.split() == ["0", "['pipes']"]
