-- Background jobs: what is to be done once, soon, outside of a request, and again until it worked.
CREATE TABLE jobs (
    -- Derived from the event that caused it: asked for twice, it is one job.
    id           uuid        PRIMARY KEY,
    kind         text        NOT NULL,
    -- References only: ids, words, times. Never an address, a name or a secret, so that nothing here is to be forgotten.
    payload      json        NOT NULL,
    tenant       uuid,
    -- The smallest first.
    priority     smallint    NOT NULL,
    state        text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'dead')),
    attempts     integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempts_max integer     NOT NULL CHECK (attempts_max > 0),
    -- Not before.
    run_at       timestamptz NOT NULL,
    -- The lease of whoever runs it: when it lapses, they have died, and the job waits again.
    locked_until timestamptz,
    -- Why the last attempt failed, in a machine's word.
    last_error   text,
    created_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    CHECK ((state = 'running') = (locked_until IS NOT NULL)),
    CHECK ((state IN ('done', 'dead')) = (finished_at IS NOT NULL))
);
CREATE INDEX jobs_waiting ON jobs (priority, run_at, id) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (locked_until) WHERE state = 'running';
CREATE INDEX jobs_dead ON jobs (finished_at) WHERE state = 'dead';
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

GRANT SELECT, INSERT, DELETE ON jobs TO tenantry_server;
GRANT UPDATE (state, attempts, run_at, locked_until, last_error, finished_at) ON jobs TO tenantry_server;
