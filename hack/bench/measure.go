package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// tick is the unit of time in /proc: 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what /proc tells of a process.
type stat struct {
	name   string
	parent int
	cpu    time.Duration // user and system
	reaped time.Duration // of its children that ended
}

func statOf(pid int) (s stat, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	// The name is in parentheses and may hold anything; fields are counted behind it.
	name, rest := bytes.IndexByte(content, '('), bytes.LastIndexByte(content, ')')
	s.name = string(content[name+1 : rest])
	fields := strings.Fields(string(content[rest+1:]))
	number := func(i int) int {
		n, _ := strconv.Atoi(fields[i]) // the kernel writes numbers
		return n
	}
	s.parent = number(1)
	s.cpu = time.Duration(number(11)+number(12)) * tick
	s.reaped = time.Duration(number(13)+number(14)) * tick
	return s, nil
}

// cpuOf is the time that processes have used so far.
func cpuOf(processes ...*process) (sum time.Duration) {
	for _, p := range processes {
		s, err := statOf(p.command.Process.Pid)
		if err == nil {
			sum += s.cpu
		}
	}
	return sum
}

// memory of a process, in MiB.
type memory struct{ resident, peak float64 }

func memoryOf(p *process) (m memory, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(content)) {
		var kilobytes float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kilobytes); n == 1 {
			m.resident = kilobytes / 1024
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kilobytes); n == 1 {
			m.peak = kilobytes / 1024
		}
	}
	return m, nil
}

// database is the PostgreSQL server that both contenders use.
type database struct {
	url string
	// postmaster is its first process; 0 if it is not on this machine.
	postmaster int
}

func connect(ctx context.Context, url string) (database, error) {
	d := database{url: url}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return d, err
	}
	defer conn.Close(ctx)
	var pid int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return d, err
	}
	if s, err := statOf(pid); err == nil && s.name == "postgres" {
		d.postmaster = s.parent
	}
	return d, nil
}

// cpu is the time that all processes of the server have used so far.
func (d database) cpu() (sum time.Duration) {
	if d.postmaster == 0 {
		return 0
	}
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		s, err := statOf(pid)
		if err != nil {
			continue // it just ended
		}
		if pid == d.postmaster {
			sum += s.cpu + s.reaped
		} else if s.parent == d.postmaster {
			sum += s.cpu
		}
	}
	return sum
}

// fresh makes an empty database and returns its URL.
func (d database) fresh(ctx context.Context, name string) (string, error) {
	if err := d.drop(ctx, name); err != nil {
		return "", err
	}
	if err := d.exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	config, err := pgx.ParseConfig(d.url)
	if err != nil {
		return "", err
	}
	scheme, rest, _ := strings.Cut(d.url, "://")
	authority, rest, _ := strings.Cut(rest, "/")
	return scheme + "://" + authority + "/" + name + strings.TrimPrefix(rest, config.Database), nil
}

func (d database) drop(ctx context.Context, name string) error {
	return d.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

func (d database) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// describe tells what the numbers depend on.
func (d database) describe(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	var text string
	err = conn.QueryRow(ctx, `SELECT format('PostgreSQL %s, fsync %s, synchronous_commit %s, shared_buffers %s',
		current_setting('server_version'), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('shared_buffers'))`).Scan(&text)
	if err != nil {
		return "", err
	}
	var commits []time.Duration
	for range 200 {
		begin := time.Now()
		if _, err := conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'bench', 'a commit')"); err != nil {
			return "", err
		}
		commits = append(commits, time.Since(begin))
	}
	return fmt.Sprintf("%s; a commit takes %.2f ms", text, milliseconds(quantile(commits, 0.5))), nil
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// quantile of durations in any order; 0 if there are none.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

// median of numbers in any order; the mean of the middle two.
func median(n []float64) float64 {
	if len(n) == 0 {
		return 0
	}
	slices.Sort(n)
	return (n[(len(n)-1)/2] + n[len(n)/2]) / 2
}
