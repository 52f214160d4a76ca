-- Takes the bookkeeping of projections and process managers back, with every read model; rebuilding makes them anew.
DROP TABLE process_checkpoint, projection_dead_letter, projection_checkpoint, projection_generation;
ALTER DEFAULT PRIVILEGES IN SCHEMA read_model REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM tenantry_server;
DROP SCHEMA read_model CASCADE;
