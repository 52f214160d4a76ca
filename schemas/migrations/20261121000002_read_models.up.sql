-- Where projections and process managers keep how far they got. Read models are tables of generations in the schema read_model.

CREATE SCHEMA read_model;

-- Which generations of a projection exist. The one that serves is where the view read_model.<name>_v<version> points.
CREATE TABLE projection_generation (
    projection text        NOT NULL,
    version    integer     NOT NULL,
    generation integer     NOT NULL,
    state      text        NOT NULL CHECK (state IN ('building', 'serving', 'former', 'scratch')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, version, generation)
);
-- One generation serves at a time.
CREATE UNIQUE INDEX projection_generation_serving ON projection_generation (projection, version) WHERE state = 'serving';

-- How far a generation got in each feed; moved by compare-and-set in the transaction of its rows.
CREATE TABLE projection_checkpoint (
    projection text        NOT NULL,
    version    integer     NOT NULL,
    generation integer     NOT NULL,
    feed       text        NOT NULL,
    shard      smallint    NOT NULL,
    position   bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, version, generation, feed, shard),
    FOREIGN KEY (projection, version, generation) REFERENCES projection_generation ON DELETE CASCADE
);

-- Events that could not be folded, with the later events of the same stream, until they are replayed.
CREATE TABLE projection_dead_letter (
    projection     text        NOT NULL,
    version        integer     NOT NULL,
    generation     integer     NOT NULL,
    feed           text        NOT NULL,
    shard          smallint    NOT NULL,
    position       bigint      NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   text        NOT NULL,
    reason         text        NOT NULL,
    parked_at      timestamptz NOT NULL,
    PRIMARY KEY (projection, version, generation, feed, shard, position),
    FOREIGN KEY (projection, version, generation) REFERENCES projection_generation ON DELETE CASCADE
);

-- How far a process manager got.
CREATE TABLE process_checkpoint (
    process    text        NOT NULL,
    shard      smallint    NOT NULL,
    position   bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (process, shard)
);

GRANT USAGE ON SCHEMA read_model TO tenantry_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA read_model GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tenantry_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON projection_checkpoint, projection_dead_letter, process_checkpoint TO tenantry_server;
GRANT SELECT, UPDATE ON projection_generation TO tenantry_server;
