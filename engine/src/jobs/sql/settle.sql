-- Writes down how an attempt ended, unless its lease lapsed: then the job is somebody else's by now.
UPDATE jobs
   SET state = $4, run_at = coalesce($5, run_at), last_error = $6, finished_at = $7, locked_until = NULL
 WHERE id = $1 AND attempts = $2 AND locked_until = $3 AND state = 'running'
