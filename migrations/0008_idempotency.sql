-- +goose Up

-- What services were answered, so that a request that is made again with the same
-- key gets the same answer and is not carried out again. While it is carried out
-- status is NULL, claim says by whom, and expires_at when whoever that is counts as
-- gone; then the row holds the answer, until nobody may come back for it. request
-- is a digest of what was asked.
CREATE TABLE answers (
    caller     text        NOT NULL,
    key        text        NOT NULL,
    request    bytea       NOT NULL,
    claim      uuid        NOT NULL,
    status     integer,
    etag       text        NOT NULL DEFAULT '',
    body       bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE INDEX answers_expires_at ON answers (expires_at);

-- +goose Down
DROP TABLE answers;
