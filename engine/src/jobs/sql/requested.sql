-- Of the jobs that somebody asked for: this one, else the one of a kind that is under way.
SELECT id FROM jobs
 WHERE requester = $2 AND (id = $1 OR (kind = $3 AND state IN ('waiting', 'running')))
 ORDER BY id = $1 DESC
 LIMIT 1
