-- +goose Up

-- What a manager that starts must know is also who began a game's run.
DROP INDEX operation_log_ends;
CREATE INDEX operation_log_kept ON operation_log (namespace, game, action, at DESC) WHERE action IN ('start', 'stop', 'remove');

-- +goose Down
DROP INDEX operation_log_kept;
CREATE INDEX operation_log_ends ON operation_log (namespace, game, at DESC) WHERE action IN ('stop', 'remove');
