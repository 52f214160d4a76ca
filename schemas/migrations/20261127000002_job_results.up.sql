-- Jobs that somebody asked for, and what they made for that person.
ALTER TABLE jobs ADD COLUMN requester uuid;
-- Of a kind, a person has one under way at a time: asked for again, it is that one.
CREATE UNIQUE INDEX jobs_under_way ON jobs (requester, kind)
    WHERE requester IS NOT NULL AND state IN ('waiting', 'running');
-- How many they asked for lately.
CREATE INDEX jobs_requested ON jobs (requester, kind, created_at) WHERE requester IS NOT NULL;

-- What was made for a person: it is there once this row is, and until then.
CREATE TABLE job_results (
    job        uuid        PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    person     uuid        NOT NULL,
    -- The attempt that made it: its parts are the result's.
    attempt    integer     NOT NULL CHECK (attempt > 0),
    parts      integer     NOT NULL CHECK (parts > 0),
    made_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX job_results_expiring ON job_results (expires_at);

-- Its text in pieces, each sealed under the person's key: whoever is forgotten takes them along, also out of a backup.
CREATE TABLE job_result_parts (
    job     uuid    NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt integer NOT NULL CHECK (attempt > 0),
    number  integer NOT NULL CHECK (number >= 0),
    content text    NOT NULL,
    PRIMARY KEY (job, attempt, number)
);

GRANT SELECT, INSERT, DELETE ON job_results, job_result_parts TO tenantry_server;
