-- Whom any node forgot, and whose key it rotated, since a time.
SELECT kind, subject, true FROM subject_keys WHERE forgotten_at IS NOT NULL AND forgotten_at >= $1
 UNION
SELECT kind, subject, false FROM subject_keys WHERE version > 1 AND created_at >= $1
