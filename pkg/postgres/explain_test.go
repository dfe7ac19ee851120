package postgres

import (
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

func TestServersThatAreNoUse(t *testing.T) {
	for name, c := range map[string]struct {
		answer pgproto3.BackendMessage
		want   string
	}{
		"too old": {&pgproto3.ParameterStatus{Name: "server_version", Value: "13.18 (Debian 13.18-1)"},
			"the server is PostgreSQL 13.18, and 14 or later is needed"},
		"from another age": {&pgproto3.ParameterStatus{Name: "server_version", Value: "9.6.24"},
			"the server is PostgreSQL 9.6.24, and 14 or later is needed"},
		"too old for our settings": {refusal("42704", `unrecognized configuration parameter "plan_cache_mode"`),
			"the server is too old, PostgreSQL 14 or later is needed"},
		"wrong password": {refusal("28P01", `password authentication failed for user "me"`),
			"the server does not accept the URL's user or password"},
		"not let in": {refusal("28000", `no pg_hba.conf entry for host "10.0.0.1"`),
			"the server does not accept the URL's user or password"},
		"no such database": {refusal("3D000", `database "games" does not exist`),
			"the URL's database is not there, and 'runtime-manager provision' makes it"},
		"a pooler": {refusal("08P01", "unsupported startup parameter: jit"),
			"a connection pooler answers, and the URL must name PostgreSQL itself"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), "postgres://me:secret@"+answering(t, c.answer)+"/games?sslmode=disable")
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
	for _, version := range []string{"14.0", "15.8 (Debian 15.8-1)", "18beta1", "something else", ""} {
		require.NoError(t, checkVersion(version), version)
	}
}

func refusal(code, message string) *pgproto3.ErrorResponse {
	return &pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: message}
}

// answering is the address of a server that lets everybody in, with one message
// of its own.
func answering(t *testing.T, answer pgproto3.BackendMessage) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			server := pgproto3.NewBackend(conn, conn)
			if _, err := server.ReceiveStartupMessage(); err == nil {
				server.Send(&pgproto3.AuthenticationOk{})
				server.Send(answer)
				server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				_ = server.Flush() // a client that is gone has what it wanted
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}
