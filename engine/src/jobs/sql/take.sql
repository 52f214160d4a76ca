-- Takes the most urgent job that is due, of a kind that this binary can do. Whoever takes one at the same time takes another.
UPDATE jobs
   SET state = 'running', attempts = attempts + 1, locked_until = $3
 WHERE id = (SELECT id FROM jobs
              WHERE state = 'waiting' AND run_at <= $2 AND kind = ANY ($1)
              ORDER BY priority, run_at, id
              LIMIT 1
                FOR UPDATE SKIP LOCKED)
RETURNING id, kind, payload, tenant, attempts, attempts_max, created_at, requester
