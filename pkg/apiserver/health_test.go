package apiserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/server/healthz"
)

// What is needed decides, and what is only used is told.
func TestDependencies(t *testing.T) {
	var needed, used error
	web := httptest.NewServer(Dependencies{
		Needed: []healthz.HealthChecker{Check("postgres", func(context.Context) error { return needed })},
		Used:   []healthz.HealthChecker{Check("redis", func(context.Context) error { return used })},
	}.Handler())
	defer web.Close()
	get := func(path string) (int, string) {
		t.Helper()
		response, err := http.Get(web.URL + path)
		require.NoError(t, err)
		defer response.Body.Close()
		told, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(told)
	}
	check := func(path string, status int, want string) {
		t.Helper()
		code, told := get(path)
		require.Equal(t, status, code, told)
		require.Equal(t, want, told)
	}
	check("/livez", 200, "ok")
	check("/readyz", 200, "ok")
	check("/readyz?verbose", 200, "[+]ping ok\n[+]postgres ok\n[+]redis ok\nreadyz check passed\n")

	used = errors.New("connection refused by 10.0.0.1")
	check("/readyz", 200, "ok")
	check("/readyz?verbose", 200, "[+]ping ok\n[+]postgres ok\n[~]redis degraded: reason withheld\nreadyz check passed\n")
	check("/readyz/redis", 503, "connection refused by 10.0.0.1\n")
	check("/readyz/postgres", 200, "ok")

	needed = errors.New("away")
	check("/readyz", 500, "[+]ping ok\n[-]postgres failed: reason withheld\n[~]redis degraded: reason withheld\nreadyz check failed\n")
	check("/livez", 200, "ok")

	used = nil
	check("/readyz/redis", 200, "ok")
	check("/readyz", 500, "[+]ping ok\n[-]postgres failed: reason withheld\n[+]redis ok\nreadyz check failed\n")
	check("/nothing", 404, "404 page not found\n")
}
