-- Adds a job, unless it was asked for before: then it is as it is, done or not.
INSERT INTO jobs (id, kind, payload, tenant, priority, attempts_max, run_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO NOTHING
