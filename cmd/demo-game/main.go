// Command demo-game is a small turn-based game server over HTTP. It is what
// samples, tests and benchmarks run: it keeps a turn counter in its state
// directory, and misbehaves on demand.
//
// Its environment: GAME_STATE_PATH is the state directory, PORT the port
// (8080), TURN_EVERY makes a turn by itself each such time, CRASH_AFTER and
// EXIT_CODE make it exit by itself. demo-game check asks the game on this host
// for its health, and ends with 0 if it is well.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// version is set by the linker: it is the tag of the image.
var version = "0.0.0"

// drainTimeout is how long requests under way may take after a SIGTERM.
const drainTimeout = 2 * time.Second

// checkTimeout is how long demo-game check waits for a game that hangs.
const checkTimeout = 5 * time.Second

func main() {
	do := run
	if len(os.Args) == 2 && os.Args[1] == "check" {
		do = check
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "demo-game:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("reading the host name: %w", err)
	}
	g, err := openGame(host, version, os.Getenv("GAME_STATE_PATH"))
	if err != nil {
		return err
	}
	if err := scheduleCrash(os.Getenv("CRASH_AFTER"), os.Getenv("EXIT_CODE")); err != nil {
		return err
	}
	if err := scheduleTurns(ctx, g, os.Getenv("TURN_EVERY")); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", ":"+port())
	if err != nil {
		return err
	}
	fmt.Printf("game %s %s at turn %d, listening on %s\n", g.id, version, g.status().Turn, listener.Addr())
	server := &http.Server{Handler: newServer(g).handler(), ReadHeaderTimeout: 5 * time.Second}
	drained := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(drained)
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		_ = server.Shutdown(ctx) // what did not finish in time is cut off: every turn told is on disk
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	<-drained // serving ends when the drain begins, not when it is over
	fmt.Printf("stopped at turn %d\n", g.status().Turn)
	return nil
}

func port() string { return cmp.Or(os.Getenv("PORT"), "8080") }

// check is for a HEALTHCHECK, and for probes that run a program: an image made
// of nothing has no other.
func check() error {
	client := &http.Client{Timeout: checkTimeout}
	answer, err := client.Get("http://127.0.0.1:" + port() + "/healthz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the game answers %s", answer.Status)
	}
	return nil
}

func scheduleCrash(after, code string) error {
	if after == "" {
		return nil
	}
	delay, err := time.ParseDuration(after)
	if err != nil {
		return fmt.Errorf("CRASH_AFTER: %w", err)
	}
	exitCode := 1
	if code != "" {
		if exitCode, err = strconv.Atoi(code); err != nil {
			return fmt.Errorf("EXIT_CODE: %w", err)
		}
	}
	time.AfterFunc(delay, func() {
		fmt.Fprintln(os.Stderr, "crashing as told by CRASH_AFTER")
		os.Exit(exitCode)
	})
	return nil
}

func scheduleTurns(ctx context.Context, g *game, every string) error {
	if every == "" {
		return nil
	}
	interval, err := time.ParseDuration(every)
	if err != nil || interval <= 0 {
		return fmt.Errorf("TURN_EVERY: %q is no time between turns", every)
	}
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if _, err := g.advance(); err != nil && !errors.Is(err, errFrozen) {
				fmt.Fprintln(os.Stderr, "making a turn:", err)
			}
		}
	}()
	return nil
}
