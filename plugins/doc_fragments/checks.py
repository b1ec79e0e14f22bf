# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a gate, all types of them."""

from __future__ import annotations


class ModuleDocFragment:
    """What is asked, and what the answer has to be."""

    DOCUMENTATION = r"""
options:
  checks:
    description: What has to hold. A key that does not belong to the check's type is refused.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the check, unique in the list.
        type: str
        required: true
      type:
        description:
          - What is asked.
          - V(http), V(tcp) and V(tls) ask an address, V(postgres) and V(redis) a server, V(queue) what waits in a Redis, V(rabbitmq) the
            management API, V(s3) a bucket, V(container) the Docker Engine, V(command) a program.
          - V(prometheus) asks a query, V(event_bus) a page of metrics, V(compare) whether a new release does as well as the old one.
          - What is not there is never good, unless the check says so. The error then begins with C(no data).
        type: str
        required: true
        choices: [http, tcp, tls, postgres, redis, queue, rabbitmq, s3, prometheus, event_bus, compare, container, command]
      timeout_seconds:
        description: How long one evaluation may take. V(5) when not given.
        type: float
      url:
        description:
          - C(http://) or C(https://) address, without credentials. Redirects are not followed.
          - For V(http), what is asked.
          - For V(prometheus) and V(compare), that of the Prometheus server.
          - For V(event_bus), a page of metrics in Prometheus' text format, be it the application's own or C(/federate?match[]=…) of a
            Prometheus server.
          - For V(rabbitmq), that of the management API, as C(http://127.0.0.1:15672).
          - For V(s3), the endpoint; the bucket is asked for by path.
        type: str
      method:
        description: For V(http), V(GET) when not given.
        type: str
      status:
        description: For V(http), status or statuses that are good. V([200]) when not given.
        type: list
        elements: int
      headers:
        description: For V(http), V(prometheus), V(event_bus), V(compare) and V(rabbitmq), request headers.
        type: dict
      secret_headers:
        description: For V(http), V(prometheus), V(event_bus), V(compare) and V(rabbitmq), request headers whose values are secret, as C(Authorization).
        type: dict
      expected_headers:
        description: For V(http), response headers and the value each must have.
        type: dict
      json:
        description: For V(http), conditions on the body, which has to be JSON.
        type: list
        elements: dict
        suboptions:
          path:
            description: Place of the value, as C(a.b[0].c).
            type: str
            required: true
          equals:
            description: The value it must be, of the same JSON type.
            type: raw
          matches:
            description: A regular expression found in it. Values that are no strings are matched as JSON text.
            type: str
      validate_certs:
        description: For all that can ask by TLS but V(postgres), whether the certificate is verified. V(true) when not given.
        type: bool
      ca:
        description: For all that can ask by TLS but V(postgres), path of a CA bundle on this host, or the PEM itself.
        type: str
      host:
        description:
          - For V(tcp), V(tls), V(postgres), V(redis) and V(queue), host name or address. V(postgres) takes a socket directory too.
        type: str
      port:
        description: For V(tcp), V(tls), V(postgres) (V(5432) when not given), V(redis) and V(queue) (V(6379)).
        type: int
      server_name:
        description: For V(tls), the name that the certificate has to be for. That of O(checks[].host) when not given.
        type: str
      days_left_min:
        description:
          - For V(tls), how many days the server's own certificate has to last. V(14) when not given.
          - TLS has to begin at once. What begins in the clear, as Postgres does, is not asked like this.
        type: int
      user:
        description: For V(postgres), V(rabbitmq) (with the tag C(monitoring)), and V(redis) and V(queue) with ACL users.
        type: str
      password:
        description: For V(postgres), V(redis), V(queue) and V(rabbitmq).
        type: str
      database:
        description: For V(postgres), V(postgres) when not given. For V(queue), the number of the Redis database, V(0) when not given.
        type: str
      sslmode:
        description: For V(postgres), as libpq knows it. V(prefer) when not given.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: For V(postgres), path of the CA on this host.
        type: path
      query:
        description:
          - For V(postgres), V(SELECT 1) when not given.
          - For V(prometheus), an instant query that gives a vector or a scalar. Every series of the answer has to hold; C(NaN) never does.
        type: str
      expected:
        description:
          - For V(postgres), the first column of the first row, as text. Any result is good when not given.
          - For V(redis), the answer as text. V(PONG) for C(PING), otherwise any answer is good when not given.
        type: str
      tls:
        description: For V(redis) and V(queue), whether to speak TLS. V(false) when not given.
        type: bool
      command:
        description:
          - For V(redis), the command as a list of words. V([PING]) when not given.
          - For V(container), a command that runs in it, with the secrets that its program has, and has to end with 0.
        type: list
        elements: str
      queue:
        description:
          - For V(queue), name of a queue of RQ (Redis Queue). One that no job was ever put into and no worker listens to is not there.
          - For V(rabbitmq), name of a queue that has to be there. Without it only alarms are asked for.
        type: str
      list:
        description: For V(queue), key of a plain list, instead of O(checks[].queue). Redis cannot tell a list that is empty from none.
        type: str
      late_seconds:
        description: For V(queue) of RQ, how long a job may wait. The 1000 at the head are looked at, where the oldest stand.
        type: float
      length_max:
        description: For V(queue) and V(rabbitmq), how many may wait. RabbitMQ counts those that are worked and not yet confirmed, too.
        type: int
      vhost:
        description: For V(rabbitmq), the virtual host of the queue. V(/) when not given.
        type: str
      consumers_min:
        description: For V(rabbitmq), how many consumers the queue has to have.
        type: int
      bucket:
        description: For V(s3), a bucket that has to be there, and that the key may use.
        type: str
      access_key:
        description: For V(s3), name of the key.
        type: str
      secret_key:
        description: For V(s3), the key itself. It signs the request (AWS Signature Version 4) and is not sent.
        type: str
      region:
        description: For V(s3), region the request is signed for. V(us-east-1) when not given.
        type: str
      operator:
        description: For V(prometheus), how each value has to be to the threshold.
        type: str
        choices: [">", ">=", "<", "<=", "==", "!="]
      threshold:
        description: For V(prometheus), what each value is held against.
        type: float
      no_data:
        description: For V(prometheus), whether an answer without any series is good. V(fail) when not given.
        type: str
        choices: [fail, pass]
      dlq_metric:
        description: For V(event_bus), metric of the dead letters. V(event_bus_dlq) when not given. It has to be on the page.
        type: str
      dlq_max:
        description: For V(event_bus), how many dead letters every series of it may show. V(0) when not given.
        type: float
      retries_metric:
        description: For V(event_bus), metric that counts retries. V(pipeline_retry_count) when not given. It has to be on the page.
        type: str
      retries_growth_max:
        description:
          - For V(event_bus), how much every series of it may grow from the first answer of this gate on. V(0) when not given.
          - A counter that is smaller than before was reset and counts from zero. In one round alone nothing can grow.
        type: float
      new:
        description: For V(compare), label selectors of the new release without braces, as C(colour="green").
        type: str
      old:
        description: For V(compare), label selectors of the old release.
        type: str
      requests:
        description: For V(compare), counter of the requests, with selectors if need be, as C(http_requests_total{route!="/health"}).
        type: str
      window:
        description: For V(compare), how far back is looked, as C(5m). V(5m) when not given.
        type: str
      samples_min:
        description: For V(compare), how many requests both have to have in the window; with fewer it does not hold. V(100) when not given.
        type: int
      errors:
        description: For V(compare), counter of the failed ones, as C(http_requests_total{status=~"5.."}). One that has no series yet is 0.
        type: str
      error_rate_max_ratio:
        description: For V(compare), how many times the old error rate the new one may be. O(checks[].errors) needs it.
        type: float
      error_rate_slack:
        description: For V(compare), what may come on top of it, as V(0.01) for one request in a hundred. V(0) when not given.
        type: float
      latency:
        description: For V(compare), histogram of the time to answer, without C(_bucket).
        type: str
      quantiles:
        description: For V(compare), the quantiles of it that are compared.
        type: list
        elements: dict
        suboptions:
          quantile:
            description: Which one, as V(0.95).
            type: float
            required: true
          max_ratio:
            description: How many times the old one the new one may be.
            type: float
            required: true
          slack_seconds:
            description: What may come on top of it.
            type: float
            default: 0.0
      container:
        description: For V(container), its name. It has to run, and be healthy if it has a health check.
        type: str
      restarts_max:
        description: For V(container), how many restarts by the Engine are tolerated. Any number when not given.
        type: int
      argv:
        description: For V(command), program and arguments. There is no shell.
        type: list
        elements: str
      rc:
        description: For V(command), the exit code that is good. V(0) when not given.
        type: int
      stdout_matches:
        description: For V(command), a regular expression found in the standard output.
        type: str
"""
