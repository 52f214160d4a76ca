-- How a job is, and until when there is what it made.
SELECT j.id, j.kind, j.requester, j.state, j.attempts, j.attempts_max, j.last_error, j.created_at, j.finished_at,
       r.expires_at
  FROM jobs AS j LEFT JOIN job_results AS r ON r.job = j.id AND r.expires_at > $2
 WHERE j.id = $1
