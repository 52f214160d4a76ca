-- Removes what attempts left that did not make the result.
DELETE FROM job_result_parts AS p
 WHERE p.job = $1 AND NOT EXISTS (SELECT FROM job_results AS r WHERE r.job = p.job AND r.attempt = p.attempt)
