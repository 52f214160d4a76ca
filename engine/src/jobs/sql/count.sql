-- How many jobs are not done; and which of them somebody should look at, and why: those that died since a time, and
-- those that failed several times and wait for the next.
WITH ill AS (
    SELECT state, kind, last_error FROM jobs WHERE state = 'dead' AND finished_at > $1
    UNION ALL
    SELECT state, kind, last_error FROM jobs WHERE state = 'waiting' AND attempts >= $2
)
SELECT (SELECT count(*) FROM jobs WHERE state = 'waiting'),
       (SELECT count(*) FROM jobs WHERE state = 'running'),
       (SELECT count(*) FROM jobs WHERE state = 'dead'),
       (SELECT min(run_at) FROM jobs WHERE state = 'waiting'),
       (SELECT count(*) FROM ill WHERE state = 'dead'),
       (SELECT count(*) FROM ill WHERE state = 'waiting'),
       ARRAY(SELECT DISTINCT kind || ' ' || coalesce(last_error, 'failed') FROM ill ORDER BY 1 LIMIT $3)
