package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// proxy stands between a store and its server, and cuts one connection off.
type proxy struct {
	url              string
	network, address string

	mu sync.Mutex
	// cut is what ends the connection of who sends it, once; the server is let
	// hear it, and answer, or not.
	cut   []byte
	heard bool
}

func startProxy(t *testing.T, serverURL string) *proxy {
	t.Helper()
	config, err := pgx.ParseConfig(serverURL)
	require.NoError(t, err)
	p := &proxy{}
	p.network, p.address = pgconn.NetworkAddress(config.Host, config.Port)
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, fmt.Sprint(".s.PGSQL.", config.Port)))
	require.NoError(t, err)
	u, err := url.Parse(serverURL)
	require.NoError(t, err)
	query := u.Query()
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	p.url = u.String()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() { // after the store closed its connections
		require.NoError(t, listener.Close())
		running.Wait()
	})
	return p
}

// cutAt ends the next connection on which a text is sent.
func (p *proxy) cutAt(text string, heard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.heard = []byte(text), heard
}

// cuts says whether to end the connection, and whether the server hears why.
func (p *proxy) cuts(sent []byte) (cut, heard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil || !bytes.Contains(sent, p.cut) {
		return false, false
	}
	p.cut = nil
	return true, p.heard
}

// serve passes on in both directions until either side ends.
func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return
	}
	var deaf atomic.Bool // is the client, from the cut on
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer client.Close()
		passOn(client, server, func([]byte) bool { return !deaf.Load() })
	}()
	passOn(server, client, func(sent []byte) bool {
		cut, heard := p.cuts(sent)
		if cut {
			deaf.Store(true)
		}
		return !cut || heard // and what is heard is committed when it is answered
	})
	_ = server.Close() // or it has ended itself
	<-answered
}

// passOn ends with either side, or with what may not pass.
func passOn(to io.Writer, from io.Reader, may func(sent []byte) bool) {
	for buffer := make([]byte, 64<<10); ; {
		n, err := from.Read(buffer)
		if err != nil || !may(buffer[:n]) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestAnswerThatIsLost cuts the connection when a write is on its way: nobody
// can tell what became of it, so nobody does it again.
func TestAnswerThatIsLost(t *testing.T) {
	p := startProxy(t, postgrestest.URL(t))
	b := openBackend(t, p.url)
	s, ctx := podStore(b), context.Background()
	// What is there is suggested, so that the key is not sent to read it.
	for verb, write := range map[string]func(key string, there *example.Pod) error{
		create: func(key string, _ *example.Pod) error { return createPod(s, filepath.Base(key)) },
		update: func(key string, there *example.Pod) error {
			return s.GuaranteedUpdate(ctx, key, &example.Pod{}, false, nil, func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
				obj.(*example.Pod).Spec.NodeName = "changed"
				return obj, nil, nil
			}, there)
		},
		remove: func(key string, there *example.Pod) error {
			return s.Delete(ctx, key, &example.Pod{}, nil, storage.ValidateAllObjectFunc, there, storage.DeleteOptions{})
		},
	} {
		for _, committed := range []bool{false, true} {
			name := fmt.Sprintf("%s-committed-%t", verb, committed)
			t.Run(name, func(t *testing.T) {
				key, there, changes := "/pods/default/"+name, &example.Pod{}, 0
				if verb != create {
					require.NoError(t, createPod(s, name))
					require.NoError(t, s.Get(ctx, key, storage.GetOptions{}, there))
					changes++
				}
				if committed {
					changes++
				}
				p.cutAt(key, committed)
				err := write(key, there)
				require.True(t, apierrors.IsTimeout(err), "%v", err)
				require.ErrorContains(t, err, "the connection to the database was lost")
				require.Equal(t, changes, changesOf(t, b, name))
				require.NoError(t, createPod(s, "after-"+name))
				require.Equal(t, changes, changesOf(t, b, name), "it was not done again")
			})
		}
	}
}
