//go:build integration

package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
)

// jobKey is the environment variable that makes this program a child of itself,
// whose memory and processor time are those of its job alone.
const jobKey = "RTM_TEST_JOB"

// job says what a child does: it runs a manager, or what that is measured against.
type job struct {
	// Config is the manager's, Shelf the file of its engine.
	Config Config
	Shelf  string
	// Bare is the number of games that are asked over HTTP at Port and nothing
	// else is done, instead of a manager.
	Bare int
	Port int32
}

// usage is what a child has used so far.
type usage struct {
	Processor time.Duration
	// Resident is what the process occupies, Program the part that maps files, which
	// is the program itself, Peak the most that it ever occupied, in MB. Heap is what
	// is in use, if the garbage was to be collected first.
	Resident, Program, Peak, Heap float64
	// EngineCalls and Looks are what its manager did.
	EngineCalls int64
	Looks       float64
}

// child does a job until it is told to end.
type child struct {
	b   *testing.B
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startChild(b *testing.B, j job) *child {
	text, err := json.Marshal(j)
	require.NoError(b, err)
	c := &child{b: b, cmd: exec.Command(os.Args[0])}
	c.cmd.Env, c.cmd.Stderr = append(os.Environ(), jobKey+"="+string(text)), os.Stderr
	c.in, err = c.cmd.StdinPipe()
	require.NoError(b, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(b, err)
	c.out = json.NewDecoder(out)
	require.NoError(b, c.cmd.Start())
	b.Cleanup(func() { _ = c.cmd.Process.Kill() }) // most of the time it has ended
	return c
}

const (
	asItIs  = "as it is"
	collect = "collect the garbage"
)

// usage asks the child.
func (c *child) usage(how string) (u usage) {
	_, err := fmt.Fprintln(c.in, how)
	require.NoError(c.b, err)
	require.NoError(c.b, c.out.Decode(&u))
	return u
}

func (c *child) end() {
	require.NoError(c.b, c.in.Close())
	require.NoError(c.b, c.cmd.Wait())
}

// doJob is the main function of a child: it answers each line with its usage.
func doJob(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	var shelved *shelf
	if j.Bare > 0 {
		go func() { done <- askBare(ctx, j.Bare, j.Port) }()
	} else {
		var err error
		if shelved, err = openShelf(j.Shelf); err != nil {
			return err
		}
		app, err := newApp(j.Config, logr.Discard(), shelved)
		if err != nil {
			return err
		}
		go func() { done <- app.Run(ctx) }()
	}
	answers := json.NewEncoder(os.Stdout)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		u := usage{
			Processor: processorTime(), Looks: looks(),
			Resident: residentMB("VmRSS:"), Program: residentMB("RssFile:"), Peak: residentMB("VmHWM:"),
		}
		if asked.Text() == collect {
			u.Heap = heapMB()
		}
		if shelved != nil {
			u.EngineCalls = shelved.calls.Load()
		}
		if err := answers.Encode(u); err != nil {
			return err
		}
	}
	cancel()
	return <-done
}

// askBare asks every game for its health every 5 s, at an even rate.
func askBare(ctx context.Context, games int, port int32) error {
	urls := make(chan string)
	for range 32 {
		go func() {
			transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
			for url := range urls {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err != nil {
					panic(err)
				}
				answer, err := transport.RoundTrip(request)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body) // as is the error: nobody counts
				_ = answer.Body.Close()
			}
		}()
	}
	defer close(urls)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begin, asked := time.Now(), 0
	for ctx.Err() == nil {
		<-tick.C
		for ; time.Duration(asked) < time.Since(begin)*time.Duration(games)/probePeriod; asked++ {
			urls <- fmt.Sprintf("http://%s:%d/healthz", loopback(asked%games), port)
		}
	}
	return nil
}

// loopback is an address of a game's own on this host.
func loopback(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250) }
