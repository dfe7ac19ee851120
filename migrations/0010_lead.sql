-- +goose Up

-- Which manager may write intents: the one that took the lead last. term counts how
-- often it was taken.
CREATE TABLE lead (
    one      boolean     PRIMARY KEY DEFAULT true CHECK (one),
    term     bigint      NOT NULL,
    taken_at timestamptz NOT NULL
);
INSERT INTO lead (term, taken_at) VALUES (0, now());

-- +goose Down
DROP TABLE lead;
