package localhost

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFromPage(t *testing.T) {
	for _, c := range []struct {
		host, header, value string
		page                bool
	}{
		{host: "127.0.0.1:7080"},
		{host: "127.0.0.2"},
		{host: "[::1]:7080"},
		{host: "[::1]"},
		{host: "localhost:7080"},
		{host: "Localhost.:7080"},
		{host: "games.localhost"},
		{host: ""}, // no browser's
		{host: "rebound.example.org:7080", page: true},
		{host: "127.0.0.1.example.org", page: true},
		{host: "localhost.example.org", page: true},
		{host: "notlocalhost", page: true},
		{host: "localhost:7080", header: "Origin", value: "http://localhost:7080"},
		{host: "localhost:7080", header: "Origin", value: "http://localhost:8080", page: true},
		{host: "localhost:7080", header: "Origin", value: "https://example.org", page: true},
		{host: "localhost:7080", header: "Origin", value: "null", page: true},
		{host: "localhost:7080", header: "Sec-Fetch-Site", value: "cross-site", page: true},
		{host: "localhost:7080", header: "Sec-Fetch-Site", value: "same-site", page: true},
		{host: "localhost:7080", header: "Sec-Fetch-Site", value: "same-origin"},
		{host: "localhost:7080", header: "Sec-Fetch-Site", value: "none"}, // somebody typed it
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		require.Equal(t, c.page, FromPage(r), "%+v", c)
	}
}
