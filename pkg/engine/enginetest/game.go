package enginetest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"galaxy.io/runtime-manager/pkg/engine"
)

// How the test game behaves: the first of a container's arguments.
const (
	// Serve listens on GamePort until a signal comes: exit code 0 for SIGTERM,
	// 100 and the signal's number for another. It is the default.
	Serve = "serve"
	// Stubborn listens too, and ignores every signal that can be ignored.
	Stubborn = "stubborn"
	// Exit N [after] ends with exit code N, at once or after a duration.
	Exit = "exit"
	// Hog takes memory until the kernel ends it.
	Hog = "hog"
	// Say text [text] writes a line to stdout, another to stderr, and ends well.
	Say = "say"
	// Chat writes "line 1", "line 2" and so on, one every ChatEvery, by turns to
	// stdout and to stderr.
	Chat = "chat"
	// Spin takes all the processor time that it gets.
	Spin = "spin"
	// Echo, run beside a game, writes what comes on stdin to stdout until it ends.
	Echo = "echo"
	// Size, run beside a game on a terminal, writes its size, such as 80x24, each
	// time it changes, and ends with its input.
	Size = "size"
	// Dial host:port exits with 0 if something listens there, else with 1.
	Dial = "dial"
	// Check is the health check of an image that has one. Sicken text, run beside
	// a game, lets it fail with that text from then on, and Cure lets it pass again.
	Check  = "check"
	Sicken = "sicken"
	Cure   = "cure"
)

// ChatEvery is the time between two lines of Chat.
const ChatEvery = 10 * time.Millisecond

const (
	// GamePath is the test game's program in its image.
	GamePath = "/game"
	// GamePort is where it listens.
	GamePort = 8080
	// GameUser is its image's default user.
	GameUser = "1000:1000"
)

var signalNumbers = map[string]int32{"SIGHUP": 1, "SIGINT": 2, "SIGKILL": 9, "SIGUSR1": 10, "SIGUSR2": 12, "SIGTERM": 15}

const killed = 128 + 9 // the exit code of a process that SIGKILL ended

func (c *simContainer) arg(i int) string {
	if i < len(c.spec.Args) {
		return c.spec.Args[i]
	}
	return ""
}

// play lets the test game run: most of its behaviours come to an end by
// themselves. Called with the lock held.
func (s *Sim) play(c *simContainer) {
	switch c.arg(0) {
	case "", Serve, Stubborn, Spin:
	case Chat:
		s.chat(c, 1)
	case Exit:
		code, err := strconv.ParseInt(c.arg(1), 10, 32)
		if err != nil {
			code = 1
		}
		delay, _ := time.ParseDuration(c.arg(2)) // none is at once
		s.endAfter(c, delay, func() Ending { return Ending{Code: int32(code)} })
	case Say:
		s.write(c, c.spec.Args[1:]...)
		s.endAfter(c, 0, func() Ending { return Ending{} })
	case Hog:
		s.endAfter(c, 0, func() Ending { return Ending{Code: killed, OOM: true} })
	case Dial:
		s.endAfter(c, 0, func() Ending { return s.dial(c.spec.Network, c.arg(1)) })
	default:
		s.endAfter(c, 0, func() Ending { return Ending{Code: 1} })
	}
}

func said(texts []string) string { return strings.Join(texts, "\n") + "\n" }

// execute is what becomes of a program of the image that is run beside the game.
func execute(command []string) (result engine.ExecResult, after time.Duration) {
	game := simContainer{spec: engine.ContainerSpec{Args: command[1:]}}
	switch {
	case command[0] != GamePath:
		return engine.ExecResult{Code: 127, Output: fmt.Sprintf("exec: %q: no such file or directory", command[0])}, 0
	case game.arg(0) == Say:
		return engine.ExecResult{Output: said(command[2:])}, 0
	case game.arg(0) == Sicken, game.arg(0) == Cure:
		return engine.ExecResult{}, 0
	case game.arg(0) == Exit:
		code, _ := strconv.ParseInt(game.arg(1), 10, 32)
		after, _ = time.ParseDuration(game.arg(2)) // none is at once
		return engine.ExecResult{Code: int32(code)}, after
	default:
		return engine.ExecResult{Code: 1}, 0
	}
}

// dial looks for a game that listens under an alias on a network.
func (s *Sim) dial(network, address string) Ending {
	alias, port, _ := net.SplitHostPort(address)
	for _, c := range s.containers {
		listens := slices.Contains([]string{"", Serve, Stubborn}, c.arg(0))
		if c.run != nil && listens && c.spec.Network == network && c.spec.Alias == alias && port == strconv.Itoa(GamePort) {
			return Ending{}
		}
	}
	return Ending{Code: 1}
}

// obey tells how the test game ends by a signal, if it does.
func (c *simContainer) obey(signal string) (ending Ending, ends bool) {
	switch {
	case signal == "SIGKILL":
		return Ending{Code: killed}, true
	case c.arg(0) == Stubborn:
		return Ending{}, false
	case signal == "SIGTERM":
		return Ending{}, true
	default:
		return Ending{Code: 100 + signalNumbers[signal]}, true
	}
}
