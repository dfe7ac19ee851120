-- +goose Up

-- What services asked for on the streams of jobs, from the entry that it was read
-- from to its answer. id is the service's own: whatever is read under it later is
-- the same job. A job that is neither accepted nor answered is to be written into
-- its game's record, one that is accepted stands there, and waits for its result.
-- image and spec are as the service wrote them.
CREATE TABLE jobs (
    id            text        PRIMARY KEY,
    stream        text        NOT NULL,
    entry         text        NOT NULL,
    entry_ms      numeric     NOT NULL GENERATED ALWAYS AS (split_part(entry, '-', 1)::numeric) STORED,
    entry_n       numeric     NOT NULL GENERATED ALWAYS AS (split_part(entry, '-', 2)::numeric) STORED,
    verb          text        NOT NULL,
    game          text        NOT NULL,
    caller        text        NOT NULL,
    image         text        NOT NULL,
    spec          text        NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT now(),
    deadline      timestamptz NOT NULL,
    tries         int         NOT NULL DEFAULT 0,
    next_try      timestamptz NOT NULL DEFAULT now(),
    claimed_by    text        NOT NULL DEFAULT '',
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    accepted      jsonb,
    result        jsonb,
    answered_at   timestamptz
);

-- The jobs of one game are carried out in the order of their entries. Only those of
-- one stream have an order within a millisecond; otherwise starts go first.
CREATE INDEX jobs_to_apply ON jobs (entry_ms, stream, entry_n) WHERE accepted IS NULL AND result IS NULL;
CREATE INDEX jobs_to_apply_of_game ON jobs (game, entry_ms, stream, entry_n) WHERE accepted IS NULL AND result IS NULL;
CREATE INDEX jobs_accepted_of_game ON jobs (game, entry_ms) WHERE accepted IS NOT NULL;
CREATE INDEX jobs_to_answer ON jobs (received_at) WHERE result IS NULL;

-- Rows go by their age.
CREATE INDEX jobs_answered_at ON jobs (answered_at) WHERE result IS NOT NULL;

-- How far each stream was read: all entries up to this one are jobs here, or were
-- answered. position is how many entries were ever added to the stream by then.
CREATE TABLE stream_offsets (
    stream     text        PRIMARY KEY,
    entry      text        NOT NULL,
    position   bigint      NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE stream_offsets;
DROP TABLE jobs;
