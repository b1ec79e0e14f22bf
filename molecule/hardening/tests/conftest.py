"""What the benchmark's rules are asked about: a host as it is, and the same host with everything done wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

Facts = dict[str, Any]

FILES = {
    "docker.service": "/usr/lib/systemd/system/docker.service",
    "docker.socket": "/usr/lib/systemd/system/docker.socket",
    "folder": "/etc/docker",
    "sock": "/run/docker.sock",
    "daemon.json": "/etc/docker/daemon.json",
    "default": "/etc/default/docker",
    "containerd.sock": "/run/containerd/containerd.sock",
}

GATHER = r"""
import glob, grp, json, os, pwd, subprocess, sys

def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout

def look(path):
    found = os.stat(path)
    return {"owner": pwd.getpwuid(found.st_uid).pw_name, "group": grp.getgrgid(found.st_gid).gr_name, "mode": found.st_mode & 0o7777}

ids = run("docker", "ps", "--all", "--quiet", "--no-trunc").split()
running = run("docker", "ps", "--quiet", "--no-trunc").split()
print(json.dumps({
    "files": {name: look(path) for name, path in json.loads(sys.argv[1]).items() if os.path.exists(path)},
    "certificates": {path: look(path) for path in glob.glob("/etc/docker/certs.d/*/*")},
    "members": grp.getgrnam("docker").gr_mem,
    "info": json.loads(run("docker", "info", "--format", "{{json .}}")),
    "command": run("ps", "-C", "dockerd", "-o", "args=").strip(),
    "configuration": json.load(open("/etc/docker/daemon.json")),
    "containers": json.loads(run("docker", "inspect", *ids)) if ids else [],
    "processes": {id: run("docker", "top", id, "-eo", "pid,comm") for id in running},
}))
"""


def gather(host: Host) -> Facts:
    done = host.run("python3 -c %s %s", GATHER, json.dumps(FILES))
    assert done.rc == 0, done.stderr
    facts: Facts = json.loads(done.stdout)
    return facts


# What cannot be done wrong on a host for the length of a test, done wrong in the facts.
UNDONE: dict[str, Callable[[Facts], Any]] = {
    "2.6": lambda facts: facts["info"].update(Driver="aufs"),
    "2.17": lambda facts: facts["info"].update(SecurityOptions=["name=cgroupns"]),
    "5.1": lambda facts: facts["info"]["Swarm"].update(LocalNodeState="active"),
}

PLANT = r"""
set -eu
docker create --name lt-worse --privileged --cap-add SYS_ADMIN --network host --pid host --ipc host --uts host --userns host \
    --restart always --device /dev/null --security-opt seccomp=unconfined --cgroup-parent /lt --user 0 --no-healthcheck \
    --volume /etc:/host:rshared --volume /run/docker.sock:/sock lastro/redis:8 >/dev/null
docker run --detach --name lt-bad --publish 0.0.0.0:81:81 --user 0 --entrypoint sh lastro/redis:8 \
    -c 'cp /bin/sleep /tmp/sshd && exec /tmp/sshd 600' >/dev/null
usermod --append --groups docker lab
mkdir -p /etc/docker/certs.d/lt
touch /etc/docker/certs.d/lt/ca.crt
cp -a /etc/docker/daemon.json ~/daemon.json
echo '{"live-restore": false}' > /etc/docker/daemon.json
systemctl reload docker
while docker info | grep -q 'Live Restore Enabled: true'; do sleep 0.1; done
cat > /etc/docker/daemon.json <<'JSON'
{"log-level": "debug", "iptables": false, "insecure-registries": ["lt.example:5000"], "hosts": ["tcp://127.0.0.1:2375"],
 "cgroup-parent": "/lt", "storage-opts": ["dm.basesize=1G"], "experimental": true}
JSON
for path in /etc/docker/certs.d/lt/ca.crt $(echo "$1"); do
    stat --format '%u:%g %a %n' "$path" >> ~/modes
    chown nobody:nogroup "$path"
    chmod 0777 "$path"
done
"""

REMOVE = r"""
docker rm --force lt-worse lt-bad
gpasswd --delete lab docker
while read -r owner mode path; do chown "$owner" "$path"; chmod "$mode" "$path"; done < ~/modes
rm -r ~/modes /etc/docker/certs.d/lt
mv ~/daemon.json /etc/docker/daemon.json
systemctl reload docker
while docker info | grep -q 'Live Restore Enabled: false'; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def facts(host: Host) -> Facts:
    found = gather(host)
    assert found["containers"], "no container runs here: the rules of section 5 would pass on nothing"
    return found


@pytest.fixture(scope="module")
def faulty(host: Host, facts: Facts) -> Facts:
    """What is seen on the same host when everything is wrong."""
    try:
        done = host.run("bash -c %s bash %s", PLANT, " ".join(FILES.values()))
        assert done.rc == 0, done.stderr
        found = gather(host)
    finally:
        host.run("bash -c %s", REMOVE)
    for undo in UNDONE.values():
        undo(found)
    return found


@pytest.fixture
def facts_again(host: Host, faulty: Facts) -> Facts:
    return gather(host)
