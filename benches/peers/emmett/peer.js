// The peer `emmett`: commands in a closed loop, and the proof that each was stored once. The protocol stands in
// ../README.md.

import { randomUUID, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { isExpectedVersionConflictError } from '@event-driven-io/emmett';
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';

import { handle, provision, setFlag } from './tenants.js';

const PEER = 'emmett';
const FLAGS = 8;
// Numbers as long as the benchmark's: round 1, then the worker, then the count. All are below 2^53.
const ROUND = 2 ** 48;
const OF_A_WORKER = 2 ** 32;
const PROVISIONED_AT_ONCE = 64;

// The library's migrations take it for granted; Node 18 does not have it.
globalThis.crypto ??= webcrypto;

class Failure extends Error {}

async function main() {
  const options = readOptions();
  const pool = new pg.Pool({ connectionString: options.url, max: options.pool });
  try {
    const store = getPostgreSQLEventStore(options.url, { connectionOptions: { pool } });
    await store.schema.migrate();
    const tenants = Array.from({ length: options.aggregates }, () => randomUUID());
    const decision = (id) => provision(tenantFacts(id), metadata('tenants:provision'));
    await atOnce(tenants, PROVISIONED_AT_ONCE, (id) => handle(store, id, decision(id)));
    const load = new Load(store, tenants, options);
    await load.run();
    await verify(pool, load);
    console.log(JSON.stringify(load.figures()));
  } finally {
    await pool.end();
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string' },
      'in-flight': { type: 'string' },
      aggregates: { type: 'string' },
      'warm-up': { type: 'string' },
      seconds: { type: 'string' },
      pool: { type: 'string', default: '10' },
    },
  });
  const number = (name) => {
    const value = Number(values[name] ?? NaN);
    if (!(value >= 0)) throw new Failure(`--${name} must be a number`);
    return value;
  };
  if (values.url === undefined) throw new Failure('--url is missing');
  return {
    url: toUrl(values.url),
    inFlight: number('in-flight'),
    aggregates: number('aggregates'),
    warmUpMs: number('warm-up') * 1000,
    seconds: number('seconds'),
    pool: number('pool'),
  };
}

// libpq's key-value pairs as a URL, which is all that the driver understands. As in libpq, the last of a key counts.
function toUrl(text) {
  if (/^postgres(ql)?:\/\//.test(text)) return text;
  const pairs = {};
  for (const [, key, quoted, bare] of text.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))/g)) {
    pairs[key] = (quoted ?? bare).replace(/\\(.)/g, '$1');
  }
  const { host = 'localhost', port = '', user = '', password = '', dbname = '', ...others } = pairs;
  const at = user && `${encodeURIComponent(user)}${password && `:${encodeURIComponent(password)}`}@`;
  const query = new URLSearchParams(others).toString();
  const server = `${at}${encodeURIComponent(host)}${port && `:${port}`}`;
  return `postgresql://${server}/${encodeURIComponent(dbname)}${query && `?${query}`}`;
}

function tenantFacts(id) {
  const name = `bench-${id.replaceAll('-', '')}`;
  return {
    tenant: id,
    name,
    slug: name,
    domain: `${name}.example`,
    plan: 'free',
    region: 'eu',
    trial_ends_at: '2030-01-01T00:00:00Z',
    owner: id,
    owner_email: `owner@${name}.example`,
  };
}

// What an event carries beside its payload, the same as in the benchmark.
function metadata(action) {
  return {
    action,
    actor: '00000000-0000-7000-8000-00000000beef',
    actor_kind: 'operator',
    role: 'operator',
    correlation_id: randomUUID(),
  };
}

// A closed loop: each worker sends its next command when it has its answer.
class Load {
  constructor(store, tenants, { inFlight, warmUpMs, seconds }) {
    Object.assign(this, { store, tenants, warmUpMs, seconds });
    // `acknowledged` counts also before and after the measured time.
    this.workers = Array.from({ length: inFlight }, () => ({ acknowledged: 0, counted: 0, repeats: 0 }));
    this.latenciesMs = [];
  }

  async run() {
    this.since = performance.now() + this.warmUpMs;
    this.until = this.since + this.seconds * 1000;
    await Promise.all(this.workers.map((worker, number) => this.work(worker, number)));
  }

  async work(worker, number) {
    for (;;) {
      const tenant = this.tenants[Math.floor(Math.random() * this.tenants.length)];
      const sent = performance.now();
      if (sent >= this.until) return;
      const repeats = await this.carryOut(tenant, ROUND + number * OF_A_WORKER + worker.acknowledged);
      if (repeats === null) return;
      const answered = performance.now();
      worker.acknowledged += 1;
      if (answered >= this.since && answered < this.until) {
        worker.counted += 1;
        worker.repeats += repeats;
      }
      if (sent >= this.since) this.latenciesMs.push(answered - sent);
    }
  }

  // Gives how often the command was repeated; `null` if it lost a race after the time and wrote nothing.
  async carryOut(tenant, number) {
    const value = { type: 'string', value: `variant ${number}` };
    const decision = setFlag(`checkout.variant-${number % FLAGS}`, value, metadata('flags:set'));
    for (let repeats = 0; ; repeats += 1) {
      try {
        await handle(this.store, tenant, decision);
        return repeats;
      } catch (error) {
        if (!isExpectedVersionConflictError(error)) throw error;
        if (performance.now() >= this.until) return null;
      }
    }
  }

  figures() {
    const sum = (name) => this.workers.reduce((total, worker) => total + worker[name], 0);
    const sorted = Float64Array.from(this.latenciesMs).sort();
    const quantile = (share) => {
      const found = sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)];
      return found === undefined ? null : Number(found.toFixed(3));
    };
    return {
      peer: PEER,
      version: libraryVersion(),
      commands: sum('counted'),
      seconds: this.seconds,
      per_second: Number((sum('counted') / this.seconds).toFixed(1)),
      p50_ms: quantile(0.5),
      p99_ms: quantile(0.99),
      repeats: sum('repeats'),
    };
  }
}

// The package does not export its manifest, so the pinned version is read from ours.
function libraryVersion() {
  const manifest = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'));
  return manifest.dependencies['@event-driven-io/emmett-postgresql'];
}

// Reads the store past the library: every acknowledged command is there once and no other, positions have no gap.
async function verify(pool, load) {
  const expected = new Set();
  load.workers.forEach((worker, number) => {
    for (let count = 0; count < worker.acknowledged; count += 1) expected.add(ROUND + number * OF_A_WORKER + count);
  });
  const acknowledged = expected.size;
  const { rows } = await pool.query(
    `SELECT stream_id, stream_position::int AS position, message_type, message_data -> 'value' ->> 'value' AS value
     FROM emt_messages ORDER BY stream_id, stream_position`,
  );
  const last = new Map();
  for (const { stream_id: stream, position, message_type: type, value } of rows) {
    const wanted = (last.get(stream) ?? 0) + 1;
    if (position !== wanted) throw new Failure(`stream ${stream} has an event at ${position} where ${wanted} is due`);
    last.set(stream, position);
    if (type !== 'FlagSet') continue;
    const number = Number(value.replace('variant ', ''));
    if (!expected.delete(number)) {
      throw new Failure(`the flag event ${number} of stream ${stream} is there twice, or nobody was told of it`);
    }
  }
  if (expected.size > 0) {
    const [one] = expected;
    throw new Failure(`${expected.size} of ${acknowledged} acknowledged commands are not in the store, such as ${one}`);
  }
  const missing = load.tenants.filter((id) => !last.has(`tenant-${id}`)).length;
  if (missing > 0 || last.size !== load.tenants.length) {
    throw new Failure(`the store has ${last.size} tenants and not the ${load.tenants.length} that were provisioned`);
  }
}

// Calls `act` for each item, so many at once.
async function atOnce(items, count, act) {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await act(item);
  };
  await Promise.all(Array.from({ length: count }, worker));
}

main().catch((error) => {
  console.error(`${PEER}: ${error instanceof Failure ? error.message : error.stack}`);
  process.exit(1);
});
