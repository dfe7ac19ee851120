-- +goose Up

-- Who asked for the record as it was when the operation began: the field manager
-- that wrote its spec last. What caused the operation is cause and why.
ALTER TABLE operation_log ADD COLUMN requested_by text NOT NULL DEFAULT '';

-- The story of one game, by time. That of a record that was deleted is part of it.
CREATE INDEX operation_log_story ON operation_log (namespace, game, at);

-- What happened to the games' health. The id follows from what an event tells, so
-- that one that is told again is there already. at is when it happened, told_at
-- when it was written here.
CREATE TABLE health_events (
    id        uuid        PRIMARY KEY,
    namespace text        NOT NULL,
    game      text        NOT NULL,
    uid       text        NOT NULL,
    type      text        NOT NULL,
    at        timestamptz NOT NULL,
    container text        NOT NULL DEFAULT '',
    operation text        NOT NULL DEFAULT '',
    details   jsonb       NOT NULL,
    told_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX health_events_story ON health_events (namespace, game, at);

-- Rows go by their age.
CREATE INDEX health_events_at ON health_events (at);

-- The health of each game as its status told it last. snapshot.told holds the ids of
-- the events that this status tells of: they outlive the events' rows here, so that a
-- game that has run for longer than history is kept is not told to have started anew.
-- There is room on the pages for a row's next version, and no index that it changes.
CREATE TABLE health_snapshots (
    namespace text        NOT NULL,
    game      text        NOT NULL,
    uid       text        NOT NULL,
    at        timestamptz NOT NULL,
    snapshot  jsonb       NOT NULL,
    PRIMARY KEY (namespace, game)
) WITH (fillfactor = 70);

-- What other services are to be told, written with what it tells of: none is lost
-- and none is made up. id is the event's, for those who get one twice; seq is the
-- order of what one game has to say. Rows with published_at NULL wait.
CREATE TABLE outbox (
    id           uuid        PRIMARY KEY,
    seq          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    stream       text        NOT NULL,
    game         text        NOT NULL,
    payload      jsonb       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);

CREATE INDEX outbox_waiting ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_created_at ON outbox (created_at);

-- The story of a game: what we did to it, and what happened to it. An operation
-- stands where it began. The reason of an end says more than its message.
CREATE VIEW runtime_history AS
SELECT namespace,
       game,
       at,
       'Operation'            AS kind,
       action                 AS what,
       coalesce(outcome, '')  AS outcome,
       code,
       requested_by           AS by,
       finished_at - at       AS duration,
       concat_ws(': ', nullif(why, ''), nullif(message, '')) AS message,
       container,
       id::text               AS operation,
       uid,
       NULL::jsonb            AS details
FROM operation_log
UNION ALL
SELECT namespace,
       game,
       at,
       'HealthEvent'          AS kind,
       type                   AS what,
       ''                     AS outcome,
       ''                     AS code,
       ''                     AS by,
       NULL::interval         AS duration,
       concat_ws(': ', details ->> 'probe', CASE WHEN details ? 'exit_code' THEN details ->> 'reason' END,
                 coalesce(nullif(details ->> 'message', ''), details ->> 'image')) AS message,
       container,
       operation,
       uid,
       details
FROM health_events;

-- +goose Down
DROP VIEW runtime_history;
DROP TABLE outbox;
DROP TABLE health_snapshots;
DROP TABLE health_events;
DROP INDEX operation_log_story;
ALTER TABLE operation_log DROP COLUMN requested_by;
