-- Removes what jobs made, after its time, and its parts with it.
WITH gone AS (
    DELETE FROM job_results
     WHERE job IN (SELECT job FROM job_results WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
    RETURNING job
)
DELETE FROM job_result_parts AS p USING gone WHERE p.job = gone.job
