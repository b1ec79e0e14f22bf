"""The CIS Docker Benchmark, by the numbers of docker-bench-security 1.6: the rules that can run on a host of the platform.

docs/decisions/hardening.md says which rules are not here, and why. On a host of one's own, which has to be left as it is:

    pytest --hosts=ssh://app1 -k 'not planted' molecule/hardening/tests/test_docker_bench.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

Facts = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """A rule and what breaks it, in words; nothing where it holds. `declined` says why the platform does not follow it."""

    number: str
    title: str
    broken: Callable[[Facts], list[str]]
    declined: str = ""


def owned(name: str, group: str = "root") -> Callable[[Facts], list[str]]:
    def broken(facts: Facts) -> list[str]:
        found = facts["files"].get(name)
        return [] if found and (found["owner"], found["group"]) == ("root", group) else [f"{name}: {found}"]

    return broken


def limited(name: str, limit: int) -> Callable[[Facts], list[str]]:
    def broken(facts: Facts) -> list[str]:
        found = facts["files"].get(name)
        return [] if found and not found["mode"] & ~limit else [f"{name}: {found}"]

    return broken


def configured(key: str, bad: Callable[[Any], bool]) -> Callable[[Facts], list[str]]:
    """A setting of the Engine, in its file or on its command line."""

    def broken(facts: Facts) -> list[str]:
        value = facts["configuration"].get(key)
        flag = f"--{key}" in facts["command"]
        return [f"{key}: {value}"] if flag or bad(value) else []

    return broken


def each(bad: Callable[[dict[str, Any]], Any], proxy_too: bool = True) -> Callable[[Facts], list[str]]:
    """A property of every container; without the proxy for what it breaks by design: it is on the host's network for
    its clients' addresses, as root with one capability, for ports below 1024."""

    def broken(facts: Facts) -> list[str]:
        return [found["Name"] for found in facts["containers"] if (proxy_too or not _proxy(found)) and bad(found)]

    return broken


def _proxy(container: dict[str, Any]) -> bool:
    return str(container["Config"]["Labels"].get("com.docker.compose.project", "")).endswith("-proxy")


def _ports(container: dict[str, Any]) -> list[dict[str, str]]:
    return [port for ports in (container["HostConfig"]["PortBindings"] or {}).values() for port in ports or []]


def _host_folders(container: dict[str, Any]) -> list[str]:
    secret = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr")
    return [mount["Source"] for mount in container["Mounts"] if mount["Source"] in secret]


def _option(container: dict[str, Any], word: str) -> bool:
    return any(word in option for option in container["HostConfig"]["SecurityOpt"] or [])


def _sshd(facts: Facts) -> list[str]:
    return [container for container, listing in facts["processes"].items() if "sshd" in listing.split()]


NO_ICC = "nothing of the platform is on that bridge (5.30); docker_daemon_options: {icc: false} for a host that has other containers"
EACH_ONE = "every service of the platform has it itself (5.26); jobs of others on the host may need setuid programs"

RULES = [
    Rule("1.1.2", "Only trusted users control the daemon", lambda facts: facts["members"]),
    Rule(
        "2.1",
        "Rootless mode",
        lambda f: [] if "rootless" in str(f["info"]["SecurityOptions"]) else ["root"],
        "ports below 1024, data of many uids, live restore",
    ),
    Rule("2.2", "No traffic on the default bridge", configured("icc", lambda value: value is not False), NO_ICC),
    Rule("2.3", "Logging level info", configured("log-level", lambda value: value not in (None, "info"))),
    Rule("2.4", "The daemon may change iptables", configured("iptables", lambda value: value is False)),
    Rule("2.5", "No insecure registries", configured("insecure-registries", bool)),
    Rule("2.6", "No aufs", lambda facts: ["aufs"] if facts["info"]["Driver"] == "aufs" else []),
    Rule(
        "2.7",
        "No TCP port without TLS",
        lambda facts: configured("hosts", bool)(facts) + (["tcp"] if "tcp://" in facts["command"] else []),
    ),
    Rule(
        "2.9",
        "User namespaces",
        configured("userns-remap", lambda value: not value),
        "secrets and data are owned by the containers' numeric uids",
    ),
    Rule("2.10", "Default cgroup", configured("cgroup-parent", bool)),
    Rule("2.11", "Default base device size", configured("storage-opts", bool)),
    Rule(
        "2.12",
        "Authorization plugin",
        configured("authorization-plugins", lambda value: not value),
        "only root may use the socket (1.1.2, 3.15, 3.16)",
    ),
    Rule(
        "2.13",
        "Remote logging",
        lambda f: [f["info"]["LoggingDriver"]] if f["info"]["LoggingDriver"] in ("json-file", "local", "none") else [],
        "the logs stay on the host and rotate until there is a host for them",
    ),
    Rule("2.14", "No new privileges by default", configured("no-new-privileges", lambda value: not value), EACH_ONE),
    Rule("2.15", "Live restore", lambda facts: [] if facts["info"]["LiveRestoreEnabled"] else ["off"]),
    Rule(
        "2.16",
        "No userland proxy",
        configured("userland-proxy", lambda value: value is not False),
        "the host itself reaches published ports on the loopback by it",
    ),
    Rule(
        "2.17",
        "A seccomp profile",
        lambda f: (
            []
            if any(x in str(f["info"]["SecurityOptions"]) for x in ("profile=builtin", "profile=default"))
            else ["none"]
        ),
    ),
    Rule("2.18", "No experimental features", configured("experimental", bool)),
    Rule("3.1", "docker.service is root's", owned("docker.service")),
    Rule("3.2", "docker.service 644", limited("docker.service", 0o644)),
    Rule("3.3", "docker.socket is root's", owned("docker.socket")),
    Rule("3.4", "docker.socket 644", limited("docker.socket", 0o644)),
    Rule("3.5", "/etc/docker is root's", owned("folder")),
    Rule("3.6", "/etc/docker 755", limited("folder", 0o755)),
    Rule(
        "3.7",
        "Registry certificates are root's",
        lambda f: [p for p, x in f["certificates"].items() if x["owner"] != "root"],
    ),
    # The benchmark says 444; root writes its own files whatever their mode.
    Rule("3.8", "Registry certificates 644", lambda f: [p for p, x in f["certificates"].items() if x["mode"] & ~0o644]),
    Rule("3.15", "The socket is root:docker's", owned("sock", "docker")),
    Rule("3.16", "The socket 660", limited("sock", 0o660)),
    Rule("3.17", "daemon.json is root's", owned("daemon.json")),
    Rule("3.18", "daemon.json 644", limited("daemon.json", 0o644)),
    Rule("3.19", "/etc/default/docker is root's", owned("default")),
    Rule("3.20", "/etc/default/docker 644", limited("default", 0o644)),
    Rule("3.23", "containerd's socket is root's", owned("containerd.sock")),
    Rule("3.24", "containerd's socket 660", limited("containerd.sock", 0o660)),
    Rule(
        "4.1",
        "A user that is not root",
        each(lambda c: c["Config"]["User"].partition(":")[0] in ("", "0", "root"), proxy_too=False),
    ),
    Rule("5.1", "No swarm", lambda f: [] if f["info"]["Swarm"]["LocalNodeState"] == "inactive" else ["active"]),
    Rule(
        "5.4",
        "Few capabilities",
        each(lambda c: c["HostConfig"]["CapDrop"] != ["ALL"] or c["HostConfig"]["CapAdd"], proxy_too=False),
    ),
    Rule("5.5", "Not privileged", each(lambda c: c["HostConfig"]["Privileged"])),
    Rule("5.6", "No folders of the system", each(_host_folders)),
    Rule("5.7", "No sshd inside", _sshd),
    Rule("5.8", "No ports below 1024", each(lambda c: [p for p in _ports(c) if 0 < int(p["HostPort"] or 0) < 1024])),
    Rule("5.10", "Not the host's network", each(lambda c: c["HostConfig"]["NetworkMode"] == "host", proxy_too=False)),
    Rule("5.11", "A memory limit", each(lambda c: not c["HostConfig"]["Memory"])),
    Rule("5.12", "A CPU limit", each(lambda c: not c["HostConfig"]["NanoCpus"] and not c["HostConfig"]["CpuShares"])),
    Rule("5.13", "Read-only root", each(lambda c: not c["HostConfig"]["ReadonlyRootfs"])),
    Rule(
        "5.14", "Ports on one address", each(lambda c: [p for p in _ports(c) if p["HostIp"] in ("", "0.0.0.0", "::")])
    ),
    Rule("5.15", "Not restarted always", each(lambda c: c["HostConfig"]["RestartPolicy"]["Name"] == "always")),
    Rule("5.16", "Not the host's processes", each(lambda c: c["HostConfig"]["PidMode"] == "host")),
    Rule("5.17", "Not the host's IPC", each(lambda c: c["HostConfig"]["IpcMode"] == "host")),
    Rule("5.18", "No devices", each(lambda c: c["HostConfig"]["Devices"])),
    Rule("5.20", "No shared mounts", each(lambda c: [m for m in c["Mounts"] if "shared" in m.get("Propagation", "")])),
    Rule("5.21", "Not the host's name", each(lambda c: c["HostConfig"]["UTSMode"] == "host")),
    Rule("5.22", "seccomp is on", each(lambda c: _option(c, "seccomp=unconfined") or _option(c, "seccomp:unconfined"))),
    Rule("5.25", "Default cgroup", each(lambda c: c["HostConfig"]["CgroupParent"])),
    Rule("5.26", "No new privileges", each(lambda c: not _option(c, "no-new-privileges"))),
    Rule(
        "5.27",
        "A health check",
        each(lambda c: (c["Config"].get("Healthcheck") or {}).get("Test", ["NONE"])[0] == "NONE"),
    ),
    Rule("5.29", "A limit of processes", each(lambda c: (c["HostConfig"]["PidsLimit"] or 0) <= 0, proxy_too=False)),
    Rule("5.30", "Not on docker0", each(lambda c: c["HostConfig"]["NetworkMode"] in ("default", "bridge"))),
    Rule("5.31", "Not the host's user namespace", each(lambda c: c["HostConfig"]["UsernsMode"] == "host")),
    Rule(
        "5.32",
        "Not the Engine's socket",
        each(lambda c: [m for m in c["Mounts"] if m["Source"].endswith("docker.sock")]),
    ),
]


def rules(declined: bool) -> pytest.MarkDecorator:
    chosen = [rule for rule in RULES if bool(rule.declined) == declined]
    return pytest.mark.parametrize("rule", chosen, ids=lambda rule: f"{rule.number} {rule.title}")


@rules(declined=False)
def test_rule(rule: Rule, facts: Facts) -> None:
    assert rule.broken(facts) == []


@rules(declined=True)
def test_declined(rule: Rule, facts: Facts) -> None:
    assert rule.broken(facts), f"{rule.number} holds by now: it is no longer to be declined ({rule.declined})"


@rules(declined=False)
def test_planted(rule: Rule, faulty: Facts) -> None:
    assert rule.broken(faulty), f"{rule.number} does not see its fault"


def test_what_was_planted_is_gone(faulty: Facts, facts: Facts, facts_again: Facts) -> None:
    for part in ("files", "certificates", "members", "configuration"):
        assert facts_again[part] == facts[part]
    assert facts_again["info"]["LiveRestoreEnabled"]
