package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// oldest is the first major version whose server is good enough.
const oldest = 14

// checkVersion judges a server by what it calls itself as it accepts a connection,
// such as 15.8 (Debian 15.8-1). One that calls itself nothing like that is let pass.
func checkVersion(version string) error {
	var major int
	if _, err := fmt.Sscanf(version, "%d", &major); err == nil && major < oldest {
		number, _, _ := strings.Cut(version, " ")
		return fmt.Errorf("the server is PostgreSQL %s, and %d or later is needed", number, oldest)
	}
	return nil
}

// explain adds to a server's refusal what to do about it, where its code says so.
func explain(err error) error {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Code {
	case "08P01": // protocol_violation
		// PostgreSQL knows the settings of our sessions; PgBouncer calls them that.
		// LISTEN, and the lock that migrations take, need a session that is ours from
		// end to end.
		return fmt.Errorf("a connection pooler answers, and the URL must name PostgreSQL itself: %w", err)
	case "42704": // undefined_object: a setting that came with a later version
		return fmt.Errorf("the server is too old, PostgreSQL %d or later is needed: %w", oldest, err)
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return fmt.Errorf("the server does not accept the URL's user or password: %w", err)
	case "3D000": // invalid_catalog_name
		return fmt.Errorf("the URL's database is not there, and 'runtime-manager provision' makes it: %w", err)
	}
	return err
}
