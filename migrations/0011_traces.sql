-- +goose Up

-- The span that asked for a job, as W3C Trace Context writes it; empty where nobody told.
ALTER TABLE jobs ADD COLUMN traceparent text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE jobs DROP COLUMN traceparent;
