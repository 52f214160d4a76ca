-- The tombstone of a subject that never had a key: it gets none from now on.
INSERT INTO subject_keys (kind, subject, version, wrapped, wrapped_under, created_at, forgotten_at)
VALUES ($1, $2, 1, NULL, '', $3, $3)
ON CONFLICT DO NOTHING
