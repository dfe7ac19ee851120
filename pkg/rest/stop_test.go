package rest

import (
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A caller who connects and says nothing holds up no change of the lead.
func TestSilentCallerHoldsUpNoStop(t *testing.T) {
	b := newBench(t)
	address, err := url.Parse(b.url)
	require.NoError(t, err)
	silent, err := net.Dial("tcp", address.Host)
	require.NoError(t, err)
	defer silent.Close()
	answer, err := http.Get(b.url + "?limit=1") // by now the other one is accepted
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.stop()
	}()
	select {
	case <-stopped:
	case <-time.After(4 * stopTimeout): // it would wait for 5 s and more
		require.Fail(t, "it is still there")
		<-stopped
	}
}
