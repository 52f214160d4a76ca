-- Without these keys every sealed field is unreadable for ever: for development only.
DROP TABLE subject_keys;
DROP FUNCTION refuse_recalling_subjects();
