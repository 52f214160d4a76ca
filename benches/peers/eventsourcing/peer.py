"""The peer `eventsourcing`: commands in a closed loop, and the proof that each was stored once.

The protocol stands in ../README.md. The library is synchronous, so each command in flight is a thread of its own, all
of them on one application and its pool of connections.
"""

import argparse
import getpass
import json
import os
import random
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import psycopg
from eventsourcing.persistence import IntegrityError, PersistenceError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from tenants import Tenants

PEER = "eventsourcing"
FLAGS = 8
FIRST_VERSION = 1
# Numbers as long as the benchmark's: round 1, then the worker, then the count.
ROUND = 1 << 48
PROVISIONED_AT_ONCE = 64
UNDERSTOOD = {"host", "port", "user", "password", "dbname"}


def main():
    arguments = parse_arguments()
    conninfo = conninfo_to_dict(arguments.url)
    if unknown := conninfo.keys() - UNDERSTOOD:
        fail(f"the library takes no connection parameter {', '.join(sorted(unknown))}")
    # The library would wait half a minute for a server that isn't there.
    psycopg.connect(arguments.url).close()
    with Tenants(env=environment(conninfo, arguments)) as application:
        with ThreadPoolExecutor(PROVISIONED_AT_ONCE) as pool:
            names = [f"bench-{uuid.uuid4().hex}" for _ in range(arguments.aggregates)]
            tenants = list(pool.map(lambda name: provision(application, name), names))
        load = Load(application, tenants, arguments)
        load.run()
        table = Identifier(application.recorder.events_table_name)
    verify(conninfo, table, load)
    print(json.dumps(load.figures()))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="an empty database, as libpq's URL or key-value pairs")
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--aggregates", type=int, required=True)
    parser.add_argument("--warm-up", type=float, required=True, metavar="SECONDS")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pool", type=int, default=10, metavar="CONNECTIONS", help="default: %(default)s")
    parser.add_argument("--db-functions", choices=["y", "n"], default="y", help="default: %(default)s")
    return parser.parse_args()


def environment(conninfo, arguments):
    """How the library is configured. What isn't named keeps its default: no snapshots, no cache of aggregates."""
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": conninfo.get("dbname") or os.environ.get("PGDATABASE", "postgres"),
        "POSTGRES_HOST": conninfo.get("host") or os.environ.get("PGHOST", ""),
        "POSTGRES_PORT": str(conninfo.get("port") or os.environ.get("PGPORT", "5432")),
        "POSTGRES_USER": conninfo.get("user") or os.environ.get("PGUSER") or getpass.getuser(),
        "POSTGRES_PASSWORD": conninfo.get("password") or os.environ.get("PGPASSWORD", ""),
        "POSTGRES_POOL_SIZE": str(arguments.pool),
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_ENABLE_DB_FUNCTIONS": arguments.db_functions,
    }


def provision(application, name):
    return application.provision(
        name=name,
        slug=name,
        domain=f"{name}.example",
        plan="free",
        region="eu",
        trial_ends_at="2030-01-01T00:00:00Z",
        owner=str(uuid.uuid4()),
        owner_email=f"owner@{name}.example",
        metadata=metadata("tenants:provision"),
    )


def metadata(action):
    """What an event carries beside its payload, the same as in the benchmark."""
    return {
        "action": action,
        "actor": "00000000-0000-7000-8000-00000000beef",
        "actor_kind": "operator",
        "role": "operator",
        "correlation_id": str(uuid.uuid4()),
    }


class Load:
    """A closed loop: each worker sends its next command when it has its answer."""

    def __init__(self, application, tenants, arguments):
        self.application = application
        self.tenants = tenants
        self.measured_s = arguments.seconds
        self.workers = [Worker() for _ in range(arguments.in_flight)]
        self.warm_up_s = arguments.warm_up
        self.error = None

    def run(self):
        self.since = time.perf_counter() + self.warm_up_s
        self.until = self.since + self.measured_s
        threads = [threading.Thread(target=self.guarded, args=item) for item in enumerate(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.error is not None:
            fail(f"a command was not carried out: {self.error!r}")

    def guarded(self, number, worker):
        try:
            self.work(number, worker)
        except Exception as error:
            self.error = error

    def work(self, number, worker):
        draw = random.Random(number)
        while self.error is None:
            tenant = draw.choice(self.tenants)
            value = ROUND | number << 32 | worker.acknowledged
            sent = time.perf_counter()
            if sent >= self.until:
                return
            repeats = self.carry_out(tenant, value)
            if repeats is None:
                return
            answered = time.perf_counter()
            worker.acknowledged += 1
            if self.since <= answered < self.until:
                worker.counted += 1
                worker.repeats += repeats
            if sent >= self.since:
                worker.latencies_s.append(answered - sent)

    def carry_out(self, tenant, number):
        """Gives how often the command was repeated; `None` if it lost a race after the time and wrote nothing."""
        key = f"checkout.variant-{number % FLAGS}"
        value = {"type": "string", "value": f"variant {number}"}
        facts = metadata("flags:set")
        repeats = 0
        while True:
            try:
                self.application.set_flag(tenant, key, value, facts)
                return repeats
            except IntegrityError:
                if time.perf_counter() >= self.until:
                    return None
                repeats += 1

    def figures(self):
        commands = sum(worker.counted for worker in self.workers)
        latencies = sorted(latency for worker in self.workers for latency in worker.latencies_s)
        return {
            "peer": PEER,
            "version": version(PEER),
            "commands": commands,
            "seconds": self.measured_s,
            "per_second": round(commands / self.measured_s, 1),
            "p50_ms": quantile_ms(latencies, 0.5),
            "p99_ms": quantile_ms(latencies, 0.99),
            "repeats": sum(worker.repeats for worker in self.workers),
        }


class Worker:
    def __init__(self):
        # Also before and after the measured time.
        self.acknowledged = 0
        self.counted = 0
        self.repeats = 0
        self.latencies_s = []


def quantile_ms(sorted_s, quantile):
    if not sorted_s:
        return None
    return round(sorted_s[min(int(len(sorted_s) * quantile), len(sorted_s) - 1)] * 1000, 3)


def verify(conninfo, table, load):
    """Reads the store past the library: every acknowledged command is there once and no other, versions have no gap."""
    expected = {
        ROUND | number << 32 | count
        for number, worker in enumerate(load.workers)
        for count in range(worker.acknowledged)
    }
    acknowledged, last = len(expected), {}
    query = SQL("SELECT originator_id, originator_version, topic, state FROM {} ORDER BY 1, 2").format(table)
    with psycopg.connect(make_conninfo(**conninfo)) as connection, connection.cursor("verify") as rows:
        rows.itersize = 10_000
        for tenant, found, topic, state in rows.execute(query):
            wanted = last.get(tenant, FIRST_VERSION - 1) + 1
            if found != wanted:
                fail(f"tenant {tenant} has an event of version {found} where {wanted} is due")
            last[tenant] = found
            if topic.endswith(".FlagSet"):
                number = int(json.loads(bytes(state))["value"]["value"].removeprefix("variant "))
                if number not in expected:
                    fail(f"the flag event {number} of tenant {tenant} is there twice, or nobody was told of it")
                expected.remove(number)
    if expected:
        fail(f"{len(expected)} of {acknowledged} acknowledged commands are not in the store, such as {min(expected)}")
    if last.keys() != set(load.tenants):
        fail(f"the store has {len(last)} tenants and not the {len(load.tenants)} that were provisioned")


def fail(message):
    sys.exit(f"{PEER}: {message}")


if __name__ == "__main__":
    try:
        main()
    except (psycopg.Error, PersistenceError) as error:
        fail(error)
