-- Takes what jobs made for people along: they ask again. For development only.
DROP TABLE job_result_parts;
DROP TABLE job_results;
DROP INDEX jobs_requested;
DROP INDEX jobs_under_way;
ALTER TABLE jobs DROP COLUMN requester;
