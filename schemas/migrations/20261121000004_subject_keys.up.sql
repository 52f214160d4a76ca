-- The keys under which personal and confidential fields are sealed. A key that is destroyed leaves a tombstone for ever.
CREATE TABLE subject_keys (
    kind          text        NOT NULL CHECK (kind IN ('person', 'tenant')),
    subject       uuid        NOT NULL,
    version       integer     NOT NULL CHECK (version > 0),
    -- AES-256-GCM, bound to kind, subject, version and wrapped_under. Null: forgotten.
    wrapped       bytea,
    -- Which key of wrapped_keys wraps it.
    wrapped_under text        NOT NULL,
    created_at    timestamptz NOT NULL,
    forgotten_at  timestamptz,
    PRIMARY KEY (kind, subject, version),
    CHECK ((wrapped IS NULL) = (forgotten_at IS NOT NULL))
);
-- What other nodes look for: what was forgotten or rotated lately; and what is still wrapped under a former key.
CREATE INDEX subject_keys_forgotten ON subject_keys (forgotten_at) WHERE forgotten_at IS NOT NULL;
CREATE INDEX subject_keys_rotated ON subject_keys (created_at) WHERE version > 1;
CREATE INDEX subject_keys_wrapped_under ON subject_keys (wrapped_under) WHERE wrapped IS NOT NULL;

-- What was forgotten stays forgotten: no tombstone becomes a key again, none is removed, and no new version is made.
CREATE FUNCTION refuse_recalling_subjects() RETURNS trigger
    LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
        RAISE EXCEPTION '% on subject_keys is refused: keys are replaced by tombstones, never removed', TG_OP
            USING ERRCODE = 'TN101';
    ELSIF TG_OP = 'UPDATE' THEN
        IF OLD.wrapped IS NULL AND NEW IS DISTINCT FROM OLD THEN
            RAISE EXCEPTION 'the % % was forgotten: its tombstone stays as it is', OLD.kind, OLD.subject
                USING ERRCODE = 'TN101';
        ELSIF (NEW.kind, NEW.subject, NEW.version, NEW.created_at)
              IS DISTINCT FROM (OLD.kind, OLD.subject, OLD.version, OLD.created_at) THEN
            RAISE EXCEPTION 'a key does not change whose it is' USING ERRCODE = 'TN101';
        END IF;
    ELSIF NEW.version > 1 THEN
        -- The first version's row lock orders a rotation and a forgetting that come at the same time.
        PERFORM FROM subject_keys s WHERE s.kind = NEW.kind AND s.subject = NEW.subject AND s.version = 1 FOR UPDATE;
        IF EXISTS (SELECT FROM subject_keys s WHERE s.kind = NEW.kind AND s.subject = NEW.subject AND s.wrapped IS NULL) THEN
            RAISE EXCEPTION 'the % % was forgotten: it gets no new key', NEW.kind, NEW.subject
                USING ERRCODE = 'TN102';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER subject_keys_stay_forgotten BEFORE INSERT OR UPDATE OR DELETE ON subject_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_recalling_subjects();
CREATE TRIGGER subject_keys_stay BEFORE TRUNCATE ON subject_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_recalling_subjects();

GRANT SELECT, INSERT ON subject_keys TO tenantry_server;
GRANT UPDATE (wrapped, wrapped_under, forgotten_at) ON subject_keys TO tenantry_server;
