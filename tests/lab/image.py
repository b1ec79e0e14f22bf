"""Images of bare Debian hosts, made from the machine's own mirror and cached by what went into them."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab import machine
from tests.lab.machine import LabError, cache, docker, lock

ENTRY = Path(__file__).with_name("entry.sh")
BOOT = Path(__file__).with_name("boot.sh")
# What a minimal server installation has. No python3-apt, no Docker, no sudo: roles must manage.
_PACKAGES = ("ca-certificates", "dbus", "iproute2", "kmod", "procps", "python3")
_INIT_PACKAGES = {"systemd": ("systemd", "systemd-sysv"), "sysvinit": ("sysvinit-core",), "none": ()}
_DOCKER_PACKAGES = ("docker.io", "docker-cli", "docker-compose", "iptables")
# Without logind's PAM module a shutdown leaves SSH sessions hanging.
_SSH_PACKAGES = ("libpam-systemd", "openssh-server")
SUITES = ("trixie", "bookworm")
INITS = tuple(_INIT_PACKAGES)

# Units that have nothing to do in a container or would disturb it.
_MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer console-getty.service getty@.service getty.target serial-getty@.service "
    "systemd-modules-load.service systemd-remount-fs.service systemd-udevd.service systemd-udev-trigger.service "
    "systemd-firstboot.service sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount"
)
_INITTAB = "id:2:initdefault:\\nl2:2:wait:/etc/init.d/rc 2\\nl0:0:wait:/etc/init.d/rc 0\\nl6:6:wait:/etc/init.d/rc 6\\n"
_SETUP = f"""set -e
chmod 0755 /usr/local/sbin/lab-entry
if [ -d /usr/lib/systemd/system ]; then
    for unit in {_MASKED}; do ln -sf /dev/null /etc/systemd/system/$unit; done
fi
if [ -x /etc/init.d/rc ]; then printf '{_INITTAB}' > /etc/inittab; fi
update-ca-certificates >/dev/null
rm -f /etc/machine-id /var/lib/dbus/machine-id /etc/hostname
: > /etc/machine-id
"""
# Keys made here would be the same on every host.
_SSH_SETUP = """
chmod 0755 /usr/local/sbin/lab-boot
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/systemd/system/ssh.service.d
printf '[Service]\\nExecStartPre=\\nExecStartPre=/usr/bin/ssh-keygen -A\\nExecStartPre=/usr/sbin/sshd -t\\n' \\
    > /etc/systemd/system/ssh.service.d/host-keys.conf
"""


@dataclass(frozen=True)
class Variant:
    """A kind of host: its suite, what starts its services, whether Docker and an SSH server are there from the start."""

    suite: str = "trixie"
    init: str = "systemd"
    docker: bool = False
    ssh: bool = False

    def __post_init__(self) -> None:
        if self.suite not in SUITES or self.init not in INITS:
            raise LabError(f"No host image for {self.suite}/{self.init}; suites: {SUITES}, inits: {INITS}")
        if self.docker and self.suite != "trixie":
            raise LabError(
                "Only trixie has Docker and Compose v2 in one suite; install it with the role docker (lab-up --bare)."
            )
        if self.ssh and self.init != "systemd":
            raise LabError("Hosts with an SSH server are systemd hosts.")

    @property
    def name(self) -> str:
        """The repository of its images on the Engine."""
        parts = [self.suite, self.init, *(["docker"] if self.docker else []), *(["ssh"] if self.ssh else [])]
        return f"lastro-lab/{'-'.join(parts)}"

    @property
    def packages(self) -> tuple[str, ...]:
        """Everything installed beyond the essential packages."""
        docker, ssh = _DOCKER_PACKAGES if self.docker else (), _SSH_PACKAGES if self.ssh else ()
        return (*_PACKAGES, *_INIT_PACKAGES[self.init], *docker, *ssh)

    @property
    def setup(self) -> str:
        """The script that makes a host of the packages."""
        return _SETUP + (_SSH_SETUP if self.ssh else "")

    @property
    def programs(self) -> tuple[Path, ...]:
        """What the host runs as PID 1 before its init: the first of them starts the next."""
        return (BOOT, ENTRY) if self.ssh else (ENTRY,)


def reference(variant: Variant) -> str:
    """The image of a variant, made first where neither the Engine nor the cache has it."""
    entries, settings, cas = machine.mirror(variant.suite), machine.apt_settings(), machine.site_cas()
    programs = [path.read_text() for path in variant.programs]
    recipe = [variant.packages, entries, settings, variant.setup, *programs, [path.read_text() for path in cas]]
    key = hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]
    name = f"{variant.name}:{key}"
    with lock(variant.name.replace("/", "-")):
        if docker("images", "--quiet", name):
            return name
        tar = cache() / f"{variant.name.partition('/')[2]}-{key}.tar"
        if not tar.exists():
            _make(variant, tar, entries, settings, cas)
        first = _on_host(variant.programs[0])
        changes = ["ENV container=docker", f'ENTRYPOINT ["{first}"]', f'CMD ["{variant.init}"]']
        docker("import", *[word for change in changes for word in ("--change", change)], tar, name)
        _forget_older(variant, tar)
        return name


def _on_host(program: Path) -> str:
    return f"/usr/local/sbin/lab-{program.stem}"


def _make(variant: Variant, tar: Path, entries: list[str], settings: str, cas: list[Path]) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        setup, apt = Path(scratch, "setup"), Path(scratch, "apt")
        setup.write_text(variant.setup)
        apt.write_text(settings)
        part = Path(scratch, "root.tar")
        uploads = [(setup, "/root/setup"), (apt, "/etc/apt/apt.conf.d/90site")]
        uploads += [(path, _on_host(path)) for path in variant.programs]
        uploads += [(path, f"{machine.SITE_CAS}/{path.name}") for path in cas]
        machine.run(
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(variant.packages)}",
            *[f"--aptopt={line}" for line in settings.splitlines()],
            f'--customize-hook=mkdir -p "$1{machine.SITE_CAS}"',
            *[f"--customize-hook=upload {source} {target}" for source, target in uploads],
            '--customize-hook=chroot "$1" sh /root/setup',
            '--customize-hook=rm "$1/root/setup"',
            variant.suite,
            part,
            *entries,
        )
        part.rename(tar)


def _forget_older(variant: Variant, current: Path) -> None:
    """One image of a variant is kept; an Engine refuses to remove those that hosts still use."""
    prefix, _, key = current.stem.rpartition("-")
    for tar in cache().glob(f"{prefix}-*.tar"):
        if tar != current and tar.stem.rpartition("-")[0] == prefix:
            tar.unlink()
    for tag in docker("images", "--format", "{{.Tag}}", variant.name).splitlines():
        if tag != key:
            docker("rmi", f"{variant.name}:{tag}", check=False)
