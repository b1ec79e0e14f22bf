"""What a hardened host does: who gets in over SSH, what is upgraded at night, and what is left alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

SSH = "ssh -o BatchMode=no -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o NumberOfPasswordPrompts=1"
PASSWORD = f"SSH_ASKPASS=/root/askpass SSH_ASKPASS_REQUIRE=force {SSH} -o PubkeyAuthentication=no"

# The CIS Debian Linux 12 Benchmark 1.1.0, section 5.1: what `sshd -T` has to say.
SSHD_RULES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "5.1.6 ciphers": ("ciphers", lambda value: not re.search(r"cbc|3des|arcfour|blowfish", value)),
    "5.1.7 interval": ("clientaliveinterval", lambda value: int(value) > 0),
    "5.1.7 count": ("clientalivecountmax", lambda value: int(value) > 0),
    "5.1.9 gssapi": ("gssapiauthentication", lambda value: value == "no"),
    "5.1.10 host based": ("hostbasedauthentication", lambda value: value == "no"),
    "5.1.11 rhosts": ("ignorerhosts", lambda value: value == "yes"),
    "5.1.12 key exchange": ("kexalgorithms", lambda value: "sha1" not in value),
    "5.1.13 grace time": ("logingracetime", lambda value: 0 < int(value) <= 60),
    "5.1.14 log level": ("loglevel", lambda value: value in ("INFO", "VERBOSE")),
    "5.1.15 MACs": ("macs", lambda value: bool(value) and not re.search(r"md5|ripemd|sha1|umac-64", value)),
    "5.1.16 tries": ("maxauthtries", lambda value: int(value) <= 4),
    "5.1.17 sessions": ("maxsessions", lambda value: int(value) <= 10),
    "5.1.18 startups": ("maxstartups", lambda value: [int(x) for x in value.split(":")] <= [10, 30, 60]),
    "5.1.19 empty passwords": ("permitemptypasswords", lambda value: value == "no"),
    # The benchmark says no; an inventory may. With keys only it is how this collection logs in.
    "5.1.20 root": ("permitrootlogin", lambda value: value in ("without-password", "no")),
    "5.1.21 environment": ("permituserenvironment", lambda value: value == "no"),
    "5.1.22 PAM": ("usepam", lambda value: value == "yes"),
    "passwords": ("passwordauthentication", lambda value: value == "no"),
    "passwords through PAM": ("kbdinteractiveauthentication", lambda value: value == "no"),
    "X11": ("x11forwarding", lambda value: value == "no"),
}
# Everything wrong that an sshd of these distributions still takes.
BAD_SSHD = """\
Ciphers +aes128-cbc
ClientAliveInterval 0
ClientAliveCountMax 0
GSSAPIAuthentication yes
HostbasedAuthentication yes
IgnoreRhosts no
KexAlgorithms +diffie-hellman-group14-sha1
LoginGraceTime 0
LogLevel QUIET
MACs +hmac-md5
MaxAuthTries 6
MaxSessions 11
MaxStartups 10:30:100
PermitEmptyPasswords yes
PermitRootLogin yes
PermitUserEnvironment yes
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication yes
X11Forwarding yes
"""


@pytest.fixture(scope="module")
def sshd(host: Host) -> dict[str, str]:
    listing = host.check_output("sshd -T")
    return dict(line.split(" ", 1) for line in listing.splitlines() if " " in line)


@pytest.fixture(scope="module")
def bad_sshd(host: Host) -> dict[str, str]:
    listing = host.check_output("printf %s %s > /root/bad && sshd -T -f /root/bad", "%s", BAD_SSHD)
    return dict(line.split(" ", 1) for line in listing.splitlines() if " " in line)


@pytest.mark.parametrize("rule", SSHD_RULES)
def test_sshd_rule(rule: str, sshd: dict[str, str]) -> None:
    keyword, good = SSHD_RULES[rule]
    assert good(sshd[keyword]), f"{keyword} {sshd[keyword]}"


@pytest.mark.parametrize("rule", SSHD_RULES)
def test_sshd_rule_planted(rule: str, bad_sshd: dict[str, str]) -> None:
    keyword, good = SSHD_RULES[rule]
    assert not good(bad_sshd[keyword]), f"{rule} does not see {keyword} {bad_sshd[keyword]}"


@pytest.fixture
def open_port(host: Host) -> Iterator[int]:
    """An SSH server beside the host's own, with the same files, that takes passwords."""
    pid_file = "/run/lt-sshd.pid"
    host.check_output(
        f"/usr/sbin/sshd -p 2222 -o PidFile={pid_file} -o PasswordAuthentication=yes && "
        f"until test -s {pid_file}; do sleep 0.1; done"
    )
    yield 2222
    host.check_output(f"kill $(cat {pid_file})")


def test_a_password_does_not_get_in(host: Host, open_port: int) -> None:
    refused = host.run(f"{PASSWORD} lab@127.0.0.1 true")
    assert refused.rc == 255
    assert "Permission denied (publickey)" in refused.stderr
    assert host.run(f"{PASSWORD} -p {open_port} lab@127.0.0.1 true").rc == 0, "the password itself is wrong"


def test_a_key_gets_in(host: Host) -> None:
    assert host.run(f"{SSH} root@127.0.0.1 true").rc == 0
    host.check_output("rm -f /root/stranger*; ssh-keygen -q -t ed25519 -N '' -f /root/stranger")
    assert host.run(f"{SSH} -o IdentitiesOnly=yes -i /root/stranger root@127.0.0.1 true").rc == 255


REPOSITORY = r"""
import hashlib, os, pathlib, shutil, subprocess
root = pathlib.Path("/srv/lt")
shutil.rmtree(root, ignore_errors=True)
codename = next(x.partition("=")[2] for x in open("/etc/os-release").read().splitlines() if x.startswith("VERSION_CODENAME="))

def package(name, version, folder):
    tree = root / "build" / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n")
    folder.mkdir(parents=True, exist_ok=True)
    deb = folder / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(deb)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return deb

def suite(name, label, packages):
    pool = root / "pool" / name
    stanzas = []
    for each in packages:
        deb = package(each, "99", pool)
        data = deb.read_bytes()
        control = subprocess.run(["dpkg-deb", "--field", str(deb)], check=True, capture_output=True, text=True).stdout
        stanzas.append(f"{control}Filename: {deb.relative_to(root)}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")
    folder = root / "dists" / name
    (folder / "main/binary-amd64").mkdir(parents=True)
    text = "\n".join(stanzas).encode()
    (folder / "main/binary-amd64/Packages").write_bytes(text)
    (folder / "Release").write_text(
        f"Origin: Debian\nLabel: {label}\nSuite: {name}\nCodename: {name}\nArchitectures: amd64\nComponents: main\n"
        f"SHA256:\n {hashlib.sha256(text).hexdigest()} {len(text)} main/binary-amd64/Packages\n")

old = [package(name, "1", root / "old") for name in ("lt-control", "lt-other", "docker-lt")]
subprocess.run(["dpkg", "--install", *map(str, old)], check=True, stdout=subprocess.DEVNULL)
held = ["docker-lt", *(x for x in ("docker.io", "containerd", "runc") if os.path.exists(f"/var/lib/dpkg/info/{x}.list"))]
suite(f"{codename}-security", "Debian-Security", ["lt-control", *held])
suite(codename, "Debian", ["lt-other"])
for each in ("lists/partial", "cache/archives/partial"):
    (root / each).mkdir(parents=True)
(root / "sources.list").write_text("".join(f"deb [trusted=yes] file:{root} {x} main\n" for x in (codename, codename + "-security")))
(root / "apt.conf").write_text(
    f'Dir::Etc::sourcelist "{root}/sources.list";\nDir::Etc::sourceparts "-";\nDir::State::lists "{root}/lists";\n'
    f'Dir::Cache "{root}/cache";\nAPT::Sandbox::User "root";\n')
print(*held)
"""


@pytest.fixture(scope="module")
def held(host: Host) -> Iterator[list[str]]:
    """A repository with newer versions: of what is held and something else as security updates, of a third thing as none."""
    yield host.check_output("python3 -c %s", REPOSITORY).split()
    host.check_output("dpkg --purge lt-control lt-other docker-lt && rm -r /srv/lt")


def test_the_night_upgrades_security_and_leaves_the_engine_alone(host: Host, held: list[str]) -> None:
    tell = "export APT_CONFIG=/srv/lt/apt.conf; apt-get -q update && unattended-upgrade --dry-run --debug"
    done = host.run(tell)
    output = done.stdout + done.stderr
    assert done.rc == 0, output
    found = re.search(r"^Packages that will be upgraded: ?(.*)$", output, re.MULTILINE)
    assert found, output
    assert found[1].split() == ["lt-control"]
    assert "Initial blacklist: docker containerd runc" in output

    # Without the role's file the same repository upgrades everything.
    without = host.run(f"mv /etc/apt/apt.conf.d/60lastro /root/ && ({tell}); mv /root/60lastro /etc/apt/apt.conf.d/")
    found = re.search(r"^Packages that will be upgraded: ?(.*)$", without.stdout + without.stderr, re.MULTILINE)
    assert found
    assert {"lt-control", "lt-other", *held} <= set(found[1].split())


def test_the_night_comes(host: Host) -> None:
    dump = host.check_output("apt-config dump")
    assert 'APT::Periodic::Update-Package-Lists "1"' in dump
    assert 'APT::Periodic::Unattended-Upgrade "1"' in dump
    assert 'Unattended-Upgrade::Automatic-Reboot "false"' in dump
    timers = host.check_output("systemctl list-timers --no-legend apt-daily.timer apt-daily-upgrade.timer")
    assert len(re.findall(r"apt-daily(?:-upgrade)?\.timer", timers)) == 2, timers


def test_needrestart_leaves_the_engine_alone(host: Host) -> None:
    if not host.exists("dockerd"):
        # Nothing to restart; the file has to be one needrestart can read.
        assert host.run("needrestart -r l -b").rc == 0
        return
    unit = "systemctl show --property=MainPID --value"
    # What an upgrade of the C library does: the old file lives on in the processes only.
    host.check_output("cd /usr/lib/x86_64-linux-gnu && cp -a libc.so.6 libc.so.6.new && mv libc.so.6.new libc.so.6")
    before = host.check_output(f"{unit} docker containerd ssh").split()
    output = host.check_output("needrestart -r a 2>&1")
    after = host.check_output(f"{unit} docker containerd ssh").split()
    assert after[:2] == before[:2], output
    assert after[2] != before[2], output
    assert re.search(r"deferred[\s\S]*docker\.service", output)

    host.check_output("mv /etc/needrestart/conf.d/lastro.conf /root/")
    try:
        # Debian's own configuration leaves docker out, and forgets containerd.
        host.check_output("needrestart -r a 2>&1")
        assert host.check_output(f"{unit} containerd") != before[1], "it would not have been restarted anyway"
    finally:
        host.check_output("mv /root/lastro.conf /etc/needrestart/conf.d/")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.ipv4.conf.all.accept_redirects", 0),
        ("net.ipv4.conf.default.send_redirects", 0),
        ("net.ipv4.conf.all.accept_source_route", 0),
        ("net.ipv4.tcp_syncookies", 1),
    ],
)
def test_network_settings(host: Host, key: str, value: int) -> None:
    assert host.sysctl(key) == value
