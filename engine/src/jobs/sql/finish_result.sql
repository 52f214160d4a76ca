-- Here is what a job made; if an attempt said so before, that one's counts.
INSERT INTO job_results (job, person, attempt, parts, made_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (job) DO NOTHING
