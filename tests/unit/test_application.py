# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user's Compose file means to the platform: each rule and each refusal as one row."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from ansible_collections.lastro.platform.plugins.plugin_utils._application import Application, Settings
from ansible_collections.lastro.platform.plugins.plugin_utils._compose_source import Source, SourceError

WEB = "  web:\n    image: shop/web:1\n    x-platform: {route: {path: /}, port: 8000}\n"


def application(text: str, **settings: Any) -> Application:
    source = Source(textwrap.dedent(text), "compose.yaml", {})
    return Application(source, Settings(platform="shop", address="10.0.0.5", **settings))


def one(lines: str, tail: str = "", **settings: Any) -> Application:
    """One service `app`; the lines given begin in line 4."""
    body = textwrap.indent(textwrap.dedent(lines), "    ")
    return application(f"services:\n  app:\n    image: shop/app:1\n{body}\n{tail}", **settings)


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("", "worker"),
        ("x-platform:", "worker"),
        ("x-platform: {route: {}, port: 80}", "web"),
        ("x-platform: {route: {path: /api}, port: 80}", "web"),
        ("x-platform: {kind: web, port: 80}", "web"),
        ("x-platform: {kind: static, port: 80}", "static"),
        *((f"x-platform: {{kind: {kind}}}", kind) for kind in ("worker", "job", "migrate", "seed", "singleton")),
    ],
)
def test_kind(lines: str, kind: str) -> None:
    assert one(lines).services["app"].kind == kind


@pytest.mark.parametrize(
    "image",
    [
        "postgres", "postgres:17", "docker.io/library/postgres:17", "registry:5000/postgres@sha256:0", "bitnami/postgresql:16",
        "pgvector/pgvector:pg17", "timescale/timescaledb:2", "postgis/postgis:17", "mysql:8", "mariadb:11", "percona:8",
        "mongo:7", "redis:8-alpine", "valkey/valkey:8", "memcached", "rabbitmq:4-management", "apache/kafka:3", "nats:2",
        "zookeeper:3", "quay.io/coreos/etcd:v3", "elasticsearch:8", "opensearchproject/opensearch:2", "minio/minio",
        "chrislusf/seaweedfs:3", "cassandra:5", "clickhouse/clickhouse-server:24", "influxdb:2",
    ],
)  # fmt: skip
def test_a_database_without_a_kind_is_refused(image: str) -> None:
    with pytest.raises(SourceError) as caught:
        application(f"services:\n  store:\n    restart: always\n    image: {image}\n")
    assert str(caught.value) == (
        f"compose.yaml:4: service store looks like a database, cache or broker ({image}). "
        "Say x-platform: {provided: postgres} (or redis, rabbitmq, s3) where the platform runs it, or {kind: singleton}."
    )


@pytest.mark.parametrize(
    ("image", "extension"),
    [
        ("postgres:17", "{kind: singleton}"),
        ("shop/postgres-exporter:1", "{}"),
        ("shop/redisinsight:1", "{}"),
        ("mongo-express", "{}"),
        ("shop/app:redis", "{}"),
    ],
)
def test_no_database(image: str, extension: str) -> None:
    assert application(f"services:\n  app: {{image: '{image}', x-platform: {extension}}}\n").services


def test_what_the_platform_provides_is_left_out() -> None:
    text = """\
    services:
      app:
        image: shop/app:1
        depends_on: [db, cache]
      db: {image: 'postgres:17', privileged: true, ports: ['5432:5432'], x-platform: {provided: postgres}}
      cache: {image: 'redis:8', x-platform: {provided: redis}}
    """
    found = application(text)
    assert list(found.services) == ["app"]
    assert found.provided == {"db": "postgres", "cache": "redis"}
    assert found.dropped == []


@pytest.mark.parametrize(
    ("chosen", "names"), [((), ["app"]), (("a",), ["app", "one"]), (("b", "c"), ["app", "one", "two"])]
)
def test_profiles(chosen: tuple[str, ...], names: list[str]) -> None:
    text = """\
    services:
      app: {image: a}
      one: {image: a, profiles: [a, b]}
      two: {image: a, profiles: [c]}
    """
    assert list(application(text, profiles=chosen).services) == names


def test_what_is_dropped_is_listed() -> None:
    text = """\
    name: shop
    services:
      app: {image: a, build: ., container_name: x, ports: ['80:80'], expose: [80]}
      web: {image: b, ports: ['81:81'], x-platform: {route: {}, port: 80}}
    volumes:
      data: {name: old_data, external: true}
    """
    assert application(text).dropped == [
        "name", "app.container_name", "app.build", "app.ports", "web.ports", "volumes.data.external", "volumes.data.name",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "settings", "replicas"),
    [
        ("", {}, 1),
        ("scale: 2", {}, 2),
        ("scale: 2\ndeploy: {replicas: 3}", {}, 3),
        ("deploy: {replicas: '3'}", {}, 3),
        ("deploy:", {}, 1),
        ("deploy: {replicas: 3}\nx-platform: {replicas: 4}", {}, 4),
        ("x-platform: {replicas: 4}", {"replicas": {"app": 5}}, 5),
        ("x-platform: {replicas: 4}", {"replicas": {"app": 0}}, 0),
        ("x-platform: {replicas: 40}", {}, 40),
    ],
)
def test_replicas(lines: str, settings: dict[str, Any], replicas: int) -> None:
    assert one(lines, **settings).services["app"].replicas == replicas


HOST = "which gives it the host. Take it out, or name the service in app_allow_privileged: [app]."
NETWORK = "Take network_mode out; services of a colour reach each other by name."
SHARED = (
    "network back would be shared by both colours, and `web` would mean the old and the new one. "
    "Take `external` and `name` out; what both colours use is reached through the platform's address."
)
FLATTEN = (
    "Flatten the file: `docker compose --profile '*' config --no-interpolate --no-path-resolution -o flat.yaml`, "
    "and name that in app_compose_file."
)
WRITES = (
    "service app writes to volume data, and two colours would write at the same time. If that is safe say volumes: "
    "{data: {x-platform: {shared: true}}}; else mount it :ro or make the service a singleton."
)
PRIVILEGES = [
    ("privileged: true", "privileged"),
    ("network_mode: host", "network_mode: host"),
    ("pid: host", "pid: host"),
    ("ipc: host", "ipc: host"),
    ("userns_mode: host", "userns_mode: host"),
    ("cap_add: [NET_BIND_SERVICE, CAP_SYS_ADMIN]", "capability CAP_SYS_ADMIN"),
    ("cap_add: [all]", "capability all"),
    *(
        (f"volumes: ['{source}:/x:ro']", f"the Docker socket ({source})")
        for source in (
            "/var/run/docker.sock", "/run/docker.sock", "//run/docker.sock", "/var/run", "/run/", "/var", "/",
            "/var/lib", "/var/lib/docker", "/var/lib/docker/volumes/x", "/srv/docker.sock", "/srv/../run",
        )
    ),
    ("volumes: [{type: bind, source: /run, target: /x, read_only: true}]", "the Docker socket (/run)"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "what"), PRIVILEGES)
def test_what_gives_the_host_is_refused_unless_allowed(lines: str, what: str) -> None:
    with pytest.raises(SourceError) as caught:
        one(lines)
    assert str(caught.value) == f"compose.yaml:4: service app asks for {what}, {HOST}"
    assert one(lines, allow_privileged=("app",)).services


@pytest.mark.parametrize(
    "lines",
    [
        "privileged: false",
        "network_mode: none",
        "cap_add: [NET_BIND_SERVICE]",
        "volumes: ['/run/user/1000:/x:ro', '/variant:/v:ro', '/var/log:/log:ro']",
    ],
)
def test_what_does_not_give_the_host(lines: str) -> None:
    assert one(lines).services


@pytest.mark.parametrize(
    ("lines", "tail", "message"),
    [
        ("extends: {file: a.yaml}", "", f"4: service app: `extends` is not supported. {FLATTEN}"),
        (
            "volumes_from: [b]",
            "",
            "4: service app: `volumes_from` is not supported. Mount the named volume in each service.",
        ),
        (
            "links: [b]",
            "",
            "4: service app: `links` is not supported. Services of a colour find each other by name; take `links` out.",
        ),
        (
            "x-platform: {route: {path: /}}",
            "",
            "2: service app has a route and no port. Say in x-platform.port where it listens, for example 8000.",
        ),
        (
            "x-platform: {kind: worker, route: {}}",
            "",
            "2: service app of kind worker can't have a route. Take the route out, or make it web.",
        ),
        (
            "deploy: {replicas: many}",
            "",
            "4: service app wants 'many' replicas. Give a number, 0 or more.",
        ),
        ("deploy: {replicas: -1}", "", "4: service app wants -1 replicas. Give a number, 0 or more."),
        *(
            (
                f"x-platform: {{kind: {kind}, replicas: 2}}",
                "",
                f"2: service app of kind {kind} wants 2 replicas. A {kind} service has one copy.",
            )
            for kind in ("singleton", "migrate", "seed")
        ),
        (
            "x-platform: {route: {}, port: 80, replicas: 5}",
            "",
            "2: service app wants 5 replicas and a host has ports for 4. Raise app_replicas_max.",
        ),
        *(
            (
                f"network_mode: {mode}",
                "",
                f"4: service app has `network_mode: {mode}`, a network that is not its colour's own. {NETWORK}",
            )
            for mode in ("bridge", "service:web", "container:abc")
        ),
        (
            "network_mode: none\nx-platform: {route: {}, port: 80}",
            "",
            "4: service app has a route and `network_mode: none`. "
            "Take network_mode out: the proxy reaches it by a published port.",
        ),
        (
            "depends_on: [db]",
            "",
            "4: service app depends on db, which is not in the file. Correct the name in depends_on.",
        ),
        (
            "depends_on:\n  web: {condition: service_started}\n  db: {condition: service_healthy}",
            WEB,
            "6: service app depends on db, which is not in the file. Correct the name in depends_on.",
        ),
        (
            "depends_on: [web]",
            "  web: {image: a, profiles: [api, all]}\n",
            "4: service app depends on web, whose profile is not chosen. Add one of its profiles to app_profiles: ['api', 'all'].",
        ),
        (
            "build:\n  context: .\n  dockerfile: docker/web.Dockerfile",
            "",
            "6: service app is built from docker/web.Dockerfile, and the platform builds from Dockerfile. "
            "Name the file Dockerfile, in a context of its own.",
        ),
        (
            "build:\n  dockerfile_inline: FROM scratch",
            "",
            "5: service app has `dockerfile_inline`, and the platform builds from Dockerfile. "
            "Write it to a file named Dockerfile in the context.",
        ),
        (
            "build: {context: ., target: runtime}",
            "",
            "4: service app is built to the stage runtime, and the platform builds the last one. "
            "Make the wanted stage the last one of its Dockerfile.",
        ),
        *(
            (
                f"build:\n  context: .\n  {key}: {value}",
                "",
                f"6: service app is built with `{key}`, which the platform's build does not do. "
                "Take it out, or build the image elsewhere and name it with `image` alone.",
            )
            for key, value in {
                "additional_contexts": "{docs: ../docs}",
                "platforms": "[linux/arm64]",
                "secrets": "[token]",
                "ssh": "[default]",
                "network": "host",
            }.items()
        ),
        ("networks: [back]", "", "4: service app joins network back, which is not defined. Add it under `networks`."),
        ("", "networks:\n  back: {external: true}\n", f"6: {SHARED}"),
        ("", "networks:\n  back: {name: back}\n", f"6: {SHARED}"),
        (
            "",
            "networks:\n  back:\n    ipam: {config: [{subnet: 10.9.0.0/24}]}\n",
            "7: network back has fixed addresses, and two colours can't both have them. "
            "Take `ipam` out; services find each other by name.",
        ),
        (
            "volumes: ['data:/data']",
            "",
            "4: service app mounts volume data, which is not defined. Add it under `volumes`.",
        ),
        ("volumes: ['data:/data']", "volumes:\n  data:\n", f"4: {WRITES}"),
        ("volumes: ['data:/data:rw,z']", "volumes: {data: {x-platform: {shared: false}}}\n", f"4: {WRITES}"),
        ("volumes: [{type: volume, source: data, target: /d}]", "volumes: {data: {}}\n", f"4: {WRITES}"),
        (
            "",
            "volumes:\n  data:\n    driver: rexray\n",
            "7: volume data has `driver`, and the platform creates plain volumes. "
            "Create the Docker volume shop_data on its hosts, and take `driver` out.",
        ),
        (
            "",
            "volumes:\n  data:\n    driver: local\n    driver_opts: {type: nfs}\n",
            "8: volume data has `driver_opts`, and the platform creates plain volumes. "
            "Create the Docker volume shop_data on its hosts, and take `driver_opts` out.",
        ),
    ],
)
def test_refused(lines: str, tail: str, message: str) -> None:
    lines = lines or "restart: always"
    with pytest.raises(SourceError) as caught:
        one(lines, tail)
    assert str(caught.value) == f"compose.yaml:{message}"


def test_no_image_is_refused() -> None:
    with pytest.raises(SourceError) as caught:
        application("services:\n  web: {image: a}\n  app:\n    build: .\n")
    assert str(caught.value) == (
        "compose.yaml:3: service app names no image. Give `image` beside `build`, for example image: shop/web:${APP_RELEASE}."
    )


def test_who_is_waited_for_to_end_needs_a_kind() -> None:
    text = """\
    services:
      web:
        image: a
        depends_on: {init: {condition: service_completed_successfully}}
      init: {image: a}
    """
    with pytest.raises(SourceError) as caught:
        application(text)
    assert str(caught.value) == (
        "compose.yaml:5: service init has no kind, and web waits for it to complete. "
        "Say x-platform: {kind: migrate} (or seed, job), so that it runs once a release and not in each colour."
    )


@pytest.mark.parametrize(
    "lines",
    [
        "depends_on: {db: {condition: service_healthy, required: false}}",
        "volumes: ['data:/data:ro', '/srv/x:/x', './conf:/conf', '/anonymous']",
        "volumes: [{type: volume, source: data, target: /d, read_only: true}, {type: tmpfs, target: /t}]",
        "volumes: ['shared:/data']",
        "build: {context: ./app, dockerfile: ./Dockerfile}",
        "networks: [default, own]",
        "networks: {own: {aliases: [x]}}",
        "x-platform: {kind: singleton}\nvolumes: ['data:/data']",
        "x-platform: {kind: migrate}\nvolumes: ['data:/data']",
    ],
)
def test_accepted(lines: str) -> None:
    tail = "networks: {own: {external: false}}\nvolumes: {data: , shared: {x-platform: {shared: true}}}\n"
    assert one(lines, tail).services


def test_a_name_that_compose_itself_wrote_out_is_no_shared_network() -> None:
    text = "name: shop\nservices: {app: {image: a}}\nnetworks: {default: {name: shop_default}}\n"
    assert application(text).services
