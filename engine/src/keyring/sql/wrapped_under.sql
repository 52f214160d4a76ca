-- Keys still wrapped under a former key-encryption key; those that could not be opened before are passed over.
SELECT kind, subject, version, wrapped, wrapped_under
  FROM subject_keys
 WHERE wrapped_under = ANY ($1) AND wrapped IS NOT NULL
 ORDER BY kind, subject, version
 LIMIT $2 OFFSET $3
