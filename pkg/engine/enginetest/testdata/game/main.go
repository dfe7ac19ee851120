// Command game is the whole content of the image that the conformance suite
// runs. Its first argument says how it behaves; see enginetest's Game constants.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	behaviour, args := "serve", os.Args[1:]
	if len(args) > 0 {
		behaviour, args = args[0], args[1:]
	}
	switch behaviour {
	case "serve":
		serve()
	case "stubborn":
		signal.Ignore(obeyed...)
		listen()
		select {}
	case "exit":
		exit(args)
	case "hog":
		hog()
	case "dial":
		dial(args[0])
	case "check":
		check(sickness())
	case "sicken":
		check(os.WriteFile(sick, []byte(args[0]), 0o644))
	case "cure":
		check(os.Remove(sick))
	case "say":
		for i, to := range []*os.File{os.Stdout, os.Stderr}[:min(2, len(args))] {
			fmt.Fprintln(to, args[i])
		}
	case "chat":
		chat()
	case "spin":
		for { //nolint:staticcheck // this is what it is for
		}
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		check(err)
	case "size":
		size()
	case "write":
		check(os.WriteFile(filepath.Join(os.Getenv("GAME_STATE_PATH"), "turn"), []byte(args[0]), 0o644))
	default:
		check(fmt.Errorf("unknown behaviour %q", behaviour))
	}
}

var obeyed = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1}

// serve tells by its exit code which signal ended it.
func serve() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, obeyed...)
	listen()
	if s := (<-signals).(syscall.Signal); s != syscall.SIGTERM {
		os.Exit(100 + int(s))
	}
}

// listen shows that signals are dealt with from now on.
func listen() {
	listener, err := net.Listen("tcp", ":8080")
	check(err)
	go func() {
		for {
			conn, err := listener.Accept()
			check(err)
			check(conn.Close())
		}
	}()
}

func exit(args []string) {
	code, err := strconv.Atoi(args[0])
	check(err)
	if len(args) > 1 {
		delay, err := time.ParseDuration(args[1])
		check(err)
		time.Sleep(delay)
	}
	os.Exit(code)
}

// hog takes memory until it is stopped.
func hog() {
	for taken := [][]byte{}; ; {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		taken = append(taken, block)
	}
}

func chat() {
	for n := 1; ; n++ {
		fmt.Fprintln([]*os.File{os.Stderr, os.Stdout}[n%2], "line", n)
		time.Sleep(10 * time.Millisecond)
	}
}

func size() {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	changes <- syscall.SIGWINCH
	go func() {
		for range changes {
			now, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
			check(err)
			fmt.Printf("%dx%d\n", now.Col, now.Row)
		}
	}()
	_, err := io.Copy(io.Discard, os.Stdin)
	check(err)
}

func dial(address string) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	check(err)
	check(conn.Close())
}

// sick is where a program that is run beside the game leaves what is wrong.
const sick = "/tmp/sick"

func sickness() error {
	text, err := os.ReadFile(sick)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.New(string(text))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
