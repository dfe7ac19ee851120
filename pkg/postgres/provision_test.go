package postgres_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// hard are names that only quoting makes harmless, and a password likewise.
var hard = postgres.Provisioning{
	Role: `game's "role"; --`, Password: `it's $1 "secret" \'`, Database: `games, "all"`, Schema: `Tables; DROP`,
}

// passwordServer asks everybody for a password but its superuser, and writes
// each statement to its log, which is at the path that it returns.
func passwordServer(t *testing.T) (p postgres.Provisioning, logPath string) {
	dir := open(t)
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{Dir: dir, Settings: []string{"log_statement=all", "log_min_error_statement=debug5"}})
	rules := "local all runtime_manager trust\nlocal all janitor trust\nlocal all all scram-sha-256\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "pg_hba.conf"), []byte(rules), 0o600))
	require.Equal(t, "true", query(t, server.URL(), "SELECT pg_reload_conf()::text"))
	p = hard
	p.AdminURL = server.URL()
	return p, filepath.Join(dir, "postgres.log")
}

// serviceURL is how the provisioned role connects.
func serviceURL(t *testing.T, p postgres.Provisioning) string {
	t.Helper()
	u, err := url.Parse(p.AdminURL)
	require.NoError(t, err)
	u.User = url.UserPassword(p.Role, p.Password)
	u.Path = "/" + p.Database
	return u.String()
}

func adminOf(t *testing.T, p postgres.Provisioning) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(p.AdminURL)
	require.NoError(t, err)
	config.Database = p.Database
	conn, err := pgx.ConnectConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// catalog is all that provisioning may touch, as text.
func catalog(t *testing.T, conn *pgx.Conn) (picture string) {
	t.Helper()
	require.NoError(t, conn.QueryRow(context.Background(), `SELECT concat_ws(E'\n',
		(SELECT string_agg(r::text, E'\n' ORDER BY r.oid) FROM pg_authid r),
		(SELECT string_agg(m::text, E'\n' ORDER BY m::text) FROM pg_auth_members m),
		(SELECT string_agg(concat_ws(' ', datname, datdba, coalesce(datacl, acldefault('d', datdba))), E'\n' ORDER BY oid) FROM pg_database),
		(SELECT string_agg(concat_ws(' ', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))), E'\n' ORDER BY oid) FROM pg_namespace),
		(SELECT string_agg(s::text, E'\n' ORDER BY s::text) FROM pg_db_role_setting s))`).Scan(&picture))
	return picture
}

func TestProvisionThenMigrate(t *testing.T) {
	ctx := context.Background()
	p, logPath := passwordServer(t)
	require.NoError(t, postgres.Provision(ctx, p))
	before := catalog(t, adminOf(t, p))
	require.NoError(t, postgres.Provision(ctx, p))
	require.Equal(t, before, catalog(t, adminOf(t, p)), "once more changes nothing")

	pool := openPool(t, serviceURL(t, p))
	require.NoError(t, postgres.Migrate(ctx, pool))
	require.NoError(t, postgres.Migrate(ctx, pool))
	migrated(t, pool)
	require.NoError(t, postgres.Provision(ctx, p), "the tables do not stand in its way")
	var schema, path string
	require.NoError(t, pool.QueryRow(ctx, "SELECT current_schema(), current_setting('search_path')").Scan(&schema, &path))
	require.Equal(t, p.Schema, schema)
	require.Equal(t, pgx.Identifier{p.Schema}.Sanitize(), path)

	log, err := os.ReadFile(logPath)
	require.NoError(t, err)
	require.Contains(t, string(log), "CREATE ROLE", "statements are logged")
	require.NotContains(t, string(log), "secret", "and none holds the password")
}

// TestServiceOwnsItsSchemaAlone reads from the catalog what the role is, and
// tries what it must not do.
func TestServiceOwnsItsSchemaAlone(t *testing.T) {
	ctx := context.Background()
	p, _ := passwordServer(t)
	require.NoError(t, postgres.Provision(ctx, p))
	service := openPool(t, serviceURL(t, p))
	require.NoError(t, postgres.Migrate(ctx, service))
	admin := adminOf(t, p)

	var powers, memberships, elsewhere, schemas, strangers int
	require.NoError(t, admin.QueryRow(ctx, `SELECT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)::int
		FROM pg_roles WHERE rolname = $1 AND rolcanlogin`, p.Role).Scan(&powers))
	require.Zero(t, powers)
	require.NoError(t, admin.QueryRow(ctx, "SELECT count(*) FROM pg_auth_members WHERE $1::text::regrole IN (member, roleid)", pgx.Identifier{p.Role}.Sanitize()).Scan(&memberships))
	require.Zero(t, memberships, "it is in no role, and nobody is in it")
	const owned = " FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1::text::regrole AND deptype = 'o'"
	require.NoError(t, admin.QueryRow(ctx, "SELECT count(*) FILTER (WHERE dbid <> (SELECT oid FROM pg_database WHERE datname = current_database())), "+
		"count(*) FILTER (WHERE classid = 'pg_namespace'::regclass)"+owned, pgx.Identifier{p.Role}.Sanitize()).Scan(&elsewhere, &schemas))
	require.Zero(t, elsewhere, "no database, and nothing in another one")
	require.Equal(t, 1, schemas)
	require.NoError(t, admin.QueryRow(ctx, `SELECT count(*) FROM (SELECT classid, objid`+owned+`) o, pg_identify_object(classid, objid, 0) i
		WHERE classid <> 'pg_namespace'::regclass AND i.schema IS DISTINCT FROM quote_ident($2)`,
		pgx.Identifier{p.Role}.Sanitize(), p.Schema).Scan(&strangers))
	require.Zero(t, strangers, "all else that it owns is in its schema")

	_, err := admin.Exec(ctx, "CREATE SCHEMA other; CREATE TABLE other.secrets (); CREATE TABLE public.secrets ()")
	require.NoError(t, err)
	for _, statement := range []string{
		"CREATE TABLE public.mine ()", "CREATE SCHEMA mine", "CREATE TABLE other.mine ()", "SELECT FROM other.secrets",
		"SELECT FROM public.secrets", "CREATE DATABASE mine", "CREATE ROLE mine", "SET ROLE runtime_manager",
		"SELECT FROM pg_authid", "COPY (SELECT 1) TO PROGRAM 'true'", "ALTER SYSTEM SET fsync = off",
	} {
		_, err := service.Exec(ctx, statement)
		var refusal *pgconn.PgError
		require.ErrorAs(t, err, &refusal, statement)
		require.Equal(t, "42501", refusal.Code, "%s: %s", statement, refusal.Message) // insufficient_privilege
	}
}

func TestProvisionMends(t *testing.T) {
	ctx := context.Background()
	p, _ := passwordServer(t)
	require.NoError(t, postgres.Provision(ctx, p))
	admin := adminOf(t, p)
	right := catalog(t, admin)
	role, schema := pgx.Identifier{p.Role}.Sanitize(), pgx.Identifier{p.Schema}.Sanitize()
	for what, damage := range map[string]string{
		"no login":             "ALTER ROLE " + role + " NOLOGIN",
		"too much power":       "ALTER ROLE " + role + " CREATEDB CREATEROLE REPLICATION BYPASSRLS",
		"another owner":        "ALTER SCHEMA " + schema + " OWNER TO CURRENT_USER",
		"another search path":  "ALTER ROLE " + role + " IN DATABASE " + pgx.Identifier{p.Database}.Sanitize() + " SET search_path = public",
		"may not connect":      "REVOKE CONNECT ON DATABASE " + pgx.Identifier{p.Database}.Sanitize() + " FROM " + role,
		"a schema open to all": "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA " + schema + " TO PUBLIC",
	} {
		_, err := admin.Exec(ctx, damage)
		require.NoError(t, err, what)
		require.NotEqual(t, right, catalog(t, admin), what)
		require.NoError(t, postgres.Provision(ctx, p), what)
		require.Equal(t, right, catalog(t, admin), what)
	}

	_, err := admin.Exec(ctx, "DROP SCHEMA "+schema)
	require.NoError(t, err)
	p.Password = "another one"
	require.NoError(t, postgres.Provision(ctx, p))
	require.NoError(t, postgres.Migrate(ctx, openPool(t, serviceURL(t, p))), "with the new password, in the new schema")
	p.Password = ""
	require.NoError(t, postgres.Provision(ctx, p))
	p.Password = "another one"
	query(t, serviceURL(t, p), "SELECT 'no password leaves it as it is'")
}

// TestProvisionWithoutASuperuser is how hosted servers are provisioned.
func TestProvisionWithoutASuperuser(t *testing.T) {
	ctx := context.Background()
	p, _ := passwordServer(t)
	_, err := (adminOf(t, postgres.Provisioning{AdminURL: p.AdminURL, Database: "postgres"})).Exec(ctx, "CREATE ROLE janitor LOGIN CREATEROLE CREATEDB")
	require.NoError(t, err)
	super := p
	p.AdminURL = as(t, p.AdminURL, "janitor")
	require.NoError(t, postgres.Provision(ctx, p))
	require.NoError(t, postgres.Provision(ctx, p))
	require.NoError(t, postgres.Migrate(ctx, openPool(t, serviceURL(t, p))))
	var members int
	require.NoError(t, adminOf(t, super).QueryRow(ctx, "SELECT count(*) FROM pg_auth_members WHERE member = 'janitor'::regrole").Scan(&members))
	require.Zero(t, members, "it left the role")
}

func TestProvisionTogether(t *testing.T) {
	p, _ := passwordServer(t)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error { return postgres.Provision(context.Background(), p) })
	}
	require.NoError(t, group.Wait())
}

func TestProvisionSaysWhatIsWrong(t *testing.T) {
	ctx := context.Background()
	p, _ := passwordServer(t)
	admin := adminOf(t, postgres.Provisioning{AdminURL: p.AdminURL, Database: "postgres"})
	for _, statement := range []string{
		"CREATE ROLE boss SUPERUSER", "CREATE ROLE nobody LOGIN",
		"CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
		"CREATE ROLE janitor LOGIN CREATEROLE",
	} {
		_, err := admin.Exec(ctx, statement)
		require.NoError(t, err)
	}
	long := strings.Repeat("n", 64)
	for want, change := range map[string]func(*postgres.Provisioning){
		"administrator's URL":                     func(p *postgres.Provisioning) { p.AdminURL = "nonsense://secret" },
		"connecting to the database":              func(p *postgres.Provisioning) { p.AdminURL = "postgres://u:secret@127.0.0.1:9/x?connect_timeout=1" },
		`"" cannot be the name of the role`:       func(p *postgres.Provisioning) { p.Role = "" },
		`"pg_mine" cannot be the name of the rol`: func(p *postgres.Provisioning) { p.Role = "pg_mine" },
		`"public" cannot be the name of the sche`: func(p *postgres.Provisioning) { p.Schema = "public" },
		`"template1" cannot be the name of the d`: func(p *postgres.Provisioning) { p.Database = "template1" },
		"more than 63 bytes":                      func(p *postgres.Provisioning) { p.Schema = long },
		`"a\nb" cannot be the name of the schema`: func(p *postgres.Provisioning) { p.Schema = "a\nb" },
		`"\xff" cannot be the name of the databa`: func(p *postgres.Provisioning) { p.Database = "\xff" },
		"printable ASCII":                         func(p *postgres.Provisioning) { p.Password = "secreté" },
		"the role that provisions":                func(p *postgres.Provisioning) { p.Role = "runtime_manager" },
		"it is a superuser":                       func(p *postgres.Provisioning) { p.Role = "boss" },
		"must be UTF8":                            func(p *postgres.Provisioning) { p.Database = "latin" },
		"permission denied to create database":    func(p *postgres.Provisioning) { p.AdminURL = as(t, p.AdminURL, "janitor") },
	} {
		wrong := p
		change(&wrong)
		err := postgres.Provision(ctx, wrong)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n", "one line")
		require.NotContains(t, err.Error(), "secret", "no password")
	}
}
