-- Adds a job that somebody asks for, unless they asked for it before, have one of its kind under way, or had as many as
-- they may since a time.
INSERT INTO jobs (id, kind, payload, tenant, priority, attempts_max, run_at, created_at, requester)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
 WHERE (SELECT count(*) FROM jobs WHERE requester = $9 AND kind = $2 AND created_at > $10) < $11
ON CONFLICT DO NOTHING
