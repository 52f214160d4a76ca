-- Jobs whose lease lapsed: whoever ran them died, or was too slow. They wait again, or are dead after the last attempt.
UPDATE jobs
   SET state = CASE WHEN attempts < attempts_max THEN 'waiting' ELSE 'dead' END,
       finished_at = CASE WHEN attempts < attempts_max THEN NULL ELSE $1::timestamptz END,
       locked_until = NULL, last_error = 'lease_lapsed'
 WHERE id IN (SELECT id FROM jobs WHERE state = 'running' AND locked_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
