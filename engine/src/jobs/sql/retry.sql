-- Another round of attempts, at once, for a job that is dead or waits for its next one.
UPDATE jobs
   SET state = 'waiting', attempts = 0, run_at = $2, finished_at = NULL
 WHERE id = $1 AND state IN ('waiting', 'dead')
