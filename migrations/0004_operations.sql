-- +goose Up

-- What we were about to do to a game's container, and what came of it: a row is
-- written before the engine is called, and its outcome after. run is the start of
-- the run that a stop or a removal is to end, by the engine's clock; deadline is
-- when the call is given up.
CREATE TABLE operation_log (
    id          uuid        PRIMARY KEY,
    namespace   text        NOT NULL,
    game        text        NOT NULL,
    uid         text        NOT NULL,
    generation  bigint      NOT NULL,
    action      text        NOT NULL,
    container   text        NOT NULL DEFAULT '',
    run         timestamptz,
    cause       text        NOT NULL DEFAULT '',
    why         text        NOT NULL DEFAULT '',
    at          timestamptz NOT NULL,
    deadline    timestamptz NOT NULL,
    outcome     text        CHECK (outcome IN ('Succeeded', 'Failed', 'Unknown')),
    code        text        NOT NULL DEFAULT '',
    message     text        NOT NULL DEFAULT '',
    finished_at timestamptz
);

-- What a manager that starts must know: what was left open, and what of ours ended
-- a game's containers last.
CREATE INDEX operation_log_open ON operation_log (at) WHERE outcome IS NULL;
CREATE INDEX operation_log_ends ON operation_log (namespace, game, at DESC) WHERE action IN ('stop', 'remove');

-- Rows go by their age.
CREATE INDEX operation_log_at ON operation_log (at);

-- +goose Down
DROP TABLE operation_log;
