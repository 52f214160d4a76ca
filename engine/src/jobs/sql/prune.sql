-- Forgets jobs after their time: done ones soon, dead ones when nobody has looked for long.
DELETE FROM jobs
 WHERE id IN (SELECT id FROM jobs
               WHERE finished_at < $1 AND (state = 'done' OR finished_at < $2)
               ORDER BY finished_at
               LIMIT $3)
