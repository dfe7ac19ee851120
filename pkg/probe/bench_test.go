package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// window is how long an idle fleet is measured, idlePeriod how often each of its
// games is checked.
const (
	window     = 10 * time.Second
	idlePeriod = 5 * time.Second
)

// BenchmarkIdle measures what healthy games cost that are probed over HTTP every
// five seconds: the processor as a part of one core, what answers included, and
// beside it that of as many requests made by hand, which nothing schedules, times
// or reads closely.
func BenchmarkIdle(b *testing.B) {
	for _, games := range []int{1000, 10000} {
		b.Run(fmt.Sprint(games), func(b *testing.B) {
			address := respond(b)
			for b.Loop() {
				probed, memory := idleFleet(b, address, games)
				bare := pace(games, func() { require.NoError(b, bareGet(address)) })
				b.ReportMetric(100*probed, "%core")
				b.ReportMetric(100*bare, "%core-bare")
				b.ReportMetric(probed/bare, "x-bare")
				b.ReportMetric(memory, "B/game")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSchedule measures the scheduler's own part in BenchmarkIdle: all but
// the requests.
func BenchmarkSchedule(b *testing.B) {
	for _, games := range []int{1000, 10000} {
		b.Run(fmt.Sprint(games), func(b *testing.B) {
			for b.Loop() {
				check := func(context.Context, Target, v1alpha1.Probe) error { return nil }
				p := New(Options{Log: logr.Discard(), Check: check})
				runs(b, p)
				watchIdle(p, games, 80)
				b.ReportMetric(100*cores(func() { <-time.After(window) }), "%core")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// idleFleet probes games that answer, and says what part of a core that takes and
// how many bytes each game does.
func idleFleet(b *testing.B, address *net.TCPAddr, games int) (core, memory float64) {
	var changes, checks atomic.Int32
	before := heapBytes()
	p := New(Options{Log: logr.Discard(), OnChange: func(types.NamespacedName) { changes.Add(1) }})
	check := p.options.Check
	p.options.Check = func(ctx context.Context, target Target, spec v1alpha1.Probe) error {
		checks.Add(1)
		return check(ctx, target, spec)
	}
	stop := start(p)
	defer stop()
	watchIdle(p, games, int32(address.Port))
	require.Eventually(b, func() bool { return int(changes.Load()) == games }, time.Minute, 10*time.Millisecond)
	memory = float64(heapBytes()-before) / float64(games)
	<-time.After(idlePeriod) // by then they are apart
	checks.Store(0)
	core = cores(func() { <-time.After(window) })
	require.EqualValues(b, games, changes.Load(), "nothing is told while nothing happens")
	require.InEpsilon(b, float64(games)*window.Seconds()/idlePeriod.Seconds(), checks.Load(), 0.05)
	return core, memory
}

func watchIdle(p *Prober, games int, port int32) {
	for i := range games {
		readiness := v1alpha1.Probe{
			HTTPGet:       &v1alpha1.HTTPGetAction{Path: "/healthz", Port: port},
			PeriodSeconds: int32(idlePeriod / time.Second), TimeoutSeconds: 5,
		}
		p.Watch(Target{
			Game: gameNo(i), Instance: fmt.Sprint(i), Address: "127.0.0.1", StartedAt: time.Now(),
			Probes: v1alpha1.Probes{Readiness: &readiness},
		}, nil)
	}
}

// pace makes as many requests as games are due, in the scheduler's own rhythm, and
// says what part of a core that takes.
func pace(games int, request func()) float64 {
	return cores(func() {
		ticker := time.NewTicker(slack)
		defer ticker.Stop()
		for made, since := 0, time.Now(); time.Since(since) < window; <-ticker.C {
			for due := int(time.Since(since) * time.Duration(games) / idlePeriod); made < due; made++ {
				request()
			}
		}
	})
}

// cores says how many processor cores something keeps busy while it lasts.
func cores(something func()) float64 {
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			panic(err) // it has nothing to fail by
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before, start := used(), time.Now()
	something()
	return float64(used()-before) / float64(time.Since(start))
}

func heapBytes() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

const bareAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

// respond answers every connection once, with as little as can be.
func respond(b *testing.B) *net.TCPAddr {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var all sync.WaitGroup
	b.Cleanup(func() {
		require.NoError(b, listener.Close())
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				lines := bufio.NewReaderSize(conn, 512)
				for {
					if line, err := lines.ReadSlice('\n'); err != nil || len(line) == 2 {
						break
					}
				}
				_, _ = io.WriteString(conn, bareAnswer) // who asks sees what is missing
			})
		}
	})
	return listener.Addr().(*net.TCPAddr)
}

// bareGet asks for no more than that an answer begins well.
func bareGet(address *net.TCPAddr) error {
	conn, err := net.DialTCP("tcp", nil, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: game\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && string(answer) != bareAnswer {
		err = fmt.Errorf("answered %q", answer)
	}
	return err
}
