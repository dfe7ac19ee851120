package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Provisioning is what the service needs before its tables: a role of its own,
// and in one database a schema of that role.
type Provisioning struct {
	// AdminURL is how a superuser connects, or a role that may create roles,
	// and databases if there is one to create.
	AdminURL string
	// Role is the service's, made if it is missing.
	Role string
	// Password of the role; empty leaves it as it is.
	Password string
	// Database is made if it is missing; empty is the one of AdminURL.
	Database string
	// Schema in that database, made if it is missing.
	Schema string
}

// Provision makes what is missing, and mends what is there and different. It
// can be run again at any time; processes that start together take turns. Its
// errors are one line and hold no password, nor does any statement.
func Provision(ctx context.Context, p Provisioning) error {
	config, err := pgx.ParseConfig(p.AdminURL)
	if err != nil {
		return errURL("administrator's")
	}
	prepare(config)
	if p.Database == "" {
		p.Database = config.Database
	}
	if p.Database == "" {
		p.Database = config.User // as PostgreSQL has it
	}
	if err := p.check(); err != nil {
		return err
	}
	admin, err := connectAdmin(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }() // which ends the turn
	if _, err := admin.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended('runtime-manager provisioning', 0))"); err != nil {
		return fmt.Errorf("waiting for another process to provision: %s", oneLine(err))
	}
	if err := p.makeRole(ctx, admin); err != nil {
		return fmt.Errorf("provisioning the role %q: %s", p.Role, oneLine(err))
	}
	if err := p.makeDatabase(ctx, admin); err != nil {
		return fmt.Errorf("provisioning the database %q: %s", p.Database, oneLine(err))
	}
	config = config.Copy()
	config.Database = p.Database
	inside, err := connectAdmin(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = inside.Close(context.WithoutCancel(ctx)) }() // nothing of it is left
	err = pgx.BeginFunc(ctx, inside, func(tx pgx.Tx) error { return p.makeSchema(ctx, tx) })
	if err != nil {
		return fmt.Errorf("provisioning the schema %q in the database %q: %s", p.Schema, p.Database, oneLine(err))
	}
	return nil
}

func connectAdmin(ctx context.Context, config *pgx.ConnConfig) (conn *pgx.Conn, err error) {
	waiting, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	err = await(waiting, func(ctx context.Context) (err error) {
		conn, err = pgx.ConnectConfig(ctx, config)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %s", oneLine(err))
	}
	return conn, nil
}

// longestName is what PostgreSQL keeps of a name, in bytes; it cuts the rest off.
const longestName = 63

func (p Provisioning) check() error {
	for _, name := range []struct{ what, value, taken string }{
		{"role", p.Role, "public none pg_"},
		{"database", p.Database, "template0 template1"},
		{"schema", p.Schema, "public information_schema pg_"},
	} {
		if err := checkName(name.value, strings.Fields(name.taken)); err != nil {
			return fmt.Errorf("%q cannot be the name of the %s: %w", name.value, name.what, err)
		}
	}
	for _, r := range p.Password { // others are spelled in more than one way
		if r < ' ' || r > '~' {
			return errors.New("the password must be of printable ASCII characters")
		}
	}
	return nil
}

// checkName refuses what PostgreSQL would, or would take for something else:
// taken are such names, and such beginnings where they end with _.
func checkName(name string, taken []string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case len(name) > longestName:
		return fmt.Errorf("it has more than %d bytes", longestName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("it holds what is no character")
	}
	for _, t := range taken {
		if name == t || strings.HasSuffix(t, "_") && strings.HasPrefix(name, t) {
			return errors.New("PostgreSQL has it for itself")
		}
	}
	return nil
}

// roleNow tells what is there. What is right is not mended: not everybody who
// may make a role may name each attribute.
const roleNow = `SELECT rolname = current_user, rolsuper, concat_ws(' ',
		CASE WHEN NOT rolcanlogin THEN 'LOGIN' END,
		CASE WHEN rolcreatedb THEN 'NOCREATEDB' END,
		CASE WHEN rolcreaterole THEN 'NOCREATEROLE' END,
		CASE WHEN rolreplication THEN 'NOREPLICATION' END,
		CASE WHEN rolbypassrls THEN 'NOBYPASSRLS' END)
	FROM pg_roles WHERE rolname = $1`

// makeRole makes a role that may log in, and do nothing else.
func (p Provisioning) makeRole(ctx context.Context, conn *pgx.Conn) error {
	var ourselves, super bool
	var mend string
	err := conn.QueryRow(ctx, roleNow, p.Role).Scan(&ourselves, &super, &mend)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		_, err = conn.Exec(ctx, "CREATE ROLE "+quoted(p.Role)+" LOGIN")
	case err != nil:
	case ourselves:
		err = errors.New("the service must not run as the role that provisions")
	case super:
		err = errors.New("it is a superuser, and somebody may need it so: name another, or ALTER ROLE … NOSUPERUSER first")
	case mend != "":
		_, err = conn.Exec(ctx, "ALTER ROLE "+quoted(p.Role)+" "+mend)
	}
	if err != nil {
		return err
	}
	return p.setPassword(ctx, conn)
}

// setPassword changes nothing if we can see that it is the right one.
func (p Provisioning) setPassword(ctx context.Context, conn *pgx.Conn) error {
	if p.Password == "" {
		return nil
	}
	var readable bool
	if err := conn.QueryRow(ctx, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')").Scan(&readable); err != nil {
		return err
	}
	if readable {
		var verifier *string
		if err := conn.QueryRow(ctx, "SELECT rolpassword FROM pg_authid WHERE rolname = $1", p.Role).Scan(&verifier); err != nil {
			return err
		}
		if verifier != nil && verifies(*verifier, p.Password) {
			return nil
		}
	}
	verifier, err := newScramVerifier(p.Password)
	if err != nil {
		return err
	}
	// No quote is in a verifier.
	_, err = conn.Exec(ctx, "ALTER ROLE "+quoted(p.Role)+" PASSWORD '"+verifier+"'")
	return err
}

// makeDatabase makes it as the embedded server's is; its owner is whoever
// provisions.
func (p Provisioning) makeDatabase(ctx context.Context, conn *pgx.Conn) error {
	var encoding string
	err := conn.QueryRow(ctx, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = $1", p.Database).Scan(&encoding)
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+quoted(p.Database)+" ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0")
		return err
	}
	if err == nil && encoding != "UTF8" {
		return fmt.Errorf("its encoding is %s and must be UTF8", encoding)
	}
	return err
}

// schemaNow tells whether we may hand something to the role, for which one has
// to be in it, and whose the schema is, if it is there.
const schemaNow = `SELECT NOT pg_has_role($1, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END),
	(SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $2)`

// makeSchema makes the one place where the role may create anything.
func (p Provisioning) makeSchema(ctx context.Context, tx pgx.Tx) error {
	var outsider bool
	var owner *string
	if err := tx.QueryRow(ctx, schemaNow, p.Role, p.Schema).Scan(&outsider, &owner); err != nil {
		return err
	}
	role, schema, database := quoted(p.Role), quoted(p.Schema), quoted(p.Database)
	var join, hand, leave string
	if outsider {
		join, leave = "GRANT "+role+" TO CURRENT_USER", "REVOKE "+role+" FROM CURRENT_USER"
	}
	if owner == nil {
		hand = "CREATE SCHEMA " + schema + " AUTHORIZATION " + role
	} else if *owner != p.Role {
		hand = "ALTER SCHEMA " + schema + " OWNER TO " + role
	}
	err := execAll(ctx, tx, join, hand,
		"GRANT CONNECT ON DATABASE "+database+" TO "+role,
		"ALTER ROLE "+role+" IN DATABASE "+database+" SET search_path = "+schema)
	if err != nil {
		return err
	}
	if err := p.closeToPublic(ctx, tx); err != nil {
		return err
	}
	return execAll(ctx, tx, leave)
}

// execAll leaves out what is empty.
func execAll(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, statement := range statements {
		if statement == "" {
			continue
		}
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// closeToPublic takes the right to create things from those who were never
// given it by name: before PostgreSQL 15 everybody has it in the schema public.
func (p Provisioning) closeToPublic(ctx context.Context, tx pgx.Tx) error {
	open, err := p.openToPublic(ctx, tx)
	if err != nil {
		return err
	}
	for _, schema := range open {
		if _, err := tx.Exec(ctx, "REVOKE CREATE ON SCHEMA "+quoted(schema)+" FROM PUBLIC"); err != nil {
			return err
		}
	}
	// What we may not take is left, and PostgreSQL warns at most.
	if open, err = p.openToPublic(ctx, tx); err != nil || len(open) == 0 {
		return err
	}
	return fmt.Errorf("everybody may create things in the schema %q, and its owner alone can end that: REVOKE CREATE ON SCHEMA %s FROM PUBLIC",
		open[0], quoted(open[0]))
}

func (p Provisioning) openToPublic(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT nspname FROM pg_namespace, aclexplode(nspacl)
		WHERE nspname IN ('public', $1) AND grantee = 0 AND privilege_type = 'CREATE'`, p.Schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
