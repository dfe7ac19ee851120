package probe

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"syscall"
	"testing"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// BenchmarkCheckHTTP tells what one check costs a core, the game that answers
// included: a server of net/http, and one that does no more than to answer.
func BenchmarkCheckHTTP(b *testing.B) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }))
	defer web.Close()
	b.Run("net/http", func(b *testing.B) { benchmarkChecks(b, web.Listener.Addr()) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	go answerAll(listener)
	b.Run("bare", func(b *testing.B) { benchmarkChecks(b, listener.Addr()) })
}

// answerAll answers one request a connection, one after another, until the
// listener is closed.
func answerAll(listener net.Listener) {
	request := make([]byte, 4096)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err := conn.Read(request); err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"))
		}
		_ = conn.Close()
	}
}

func benchmarkChecks(b *testing.B, address net.Addr) {
	host, text, err := net.SplitHostPort(address.String())
	if err != nil {
		b.Fatal(err)
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		b.Fatal(err)
	}
	action := v1alpha1.HTTPGetAction{Path: "/healthz", Port: int32(port)}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		if err := CheckHTTP(b.Context(), host, action); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpuTime is what the process has had of the cores so far.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
