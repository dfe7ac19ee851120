package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// server answers for a game, and misbehaves on demand.
type server struct {
	game *game
	exit func(code int)

	mu         sync.Mutex
	failHealth bool
	failReady  bool
	flapping   int            // how many answers in a row are alike; 0 while it does not flap
	answered   map[string]int // answers of each probe since it was last told how to behave
	delay      time.Duration
	hung       chan struct{} // closed when the game recovers; nil while it does not hang
	leaked     [][]byte
}

func newServer(g *game) *server { return &server{game: g, exit: os.Exit, answered: map[string]int{}} }

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", s.slowly(s.probe("health", func() bool { return !s.failHealth })))
	mux.Handle("GET /readyz", s.slowly(s.probe("ready", func() bool { return !s.failReady && !s.failHealth })))
	mux.Handle("GET /api/v1/status", s.slowly(s.status))
	mux.Handle("POST /api/v1/turn", s.slowly(s.turn))
	mux.Handle("GET /prestop", s.slowly(s.prepare))
	mux.HandleFunc("POST /misbehave/{how}", s.misbehave)
	return mux
}

// slowly delays an answer, for ever while the game hangs.
func (s *server) slowly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		delay, hung := s.delay, s.hung
		s.mu.Unlock()
		if hung != nil {
			select {
			case <-hung:
			case <-r.Context().Done():
				return
			}
		}
		select {
		case <-time.After(delay):
			next(w, r)
		case <-r.Context().Done():
		}
	})
}

// prepare is what a preStop hook calls. Every turn is stored as it is made, so
// that there is nothing left to do but to say so.
func (s *server) prepare(w http.ResponseWriter, _ *http.Request) {
	fmt.Println("nothing to store before the stop")
	w.WriteHeader(http.StatusNoContent)
}

// probe answers as the game is. While it flaps, that is a matter of the answers and
// not of time, so that no rhythm of the checks hides it.
func (s *server) probe(name string, ok func() bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		flips := s.flapping > 0 && s.answered[name]/s.flapping%2 == 0
		s.answered[name]++
		if !ok() || flips {
			http.Error(w, "not ok", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	answered := maps.Clone(s.answered)
	s.mu.Unlock()
	answer(w, struct {
		status
		// Answered counts the answers to each probe since it was last told how to behave.
		Answered map[string]int `json:"answered"`
	}{s.game.status(), answered})
}

func (s *server) turn(w http.ResponseWriter, _ *http.Request) {
	now, err := s.game.advance()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, now)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		fmt.Fprintln(os.Stderr, "answering:", err)
	}
}

// misbehave is for those who test what runs games: crash?code=, hang,
// leak?mb=, fail-health, fail-ready, flap?times=, freeze, slow?ms=, and recover
// from all but the first.
func (s *server) misbehave(w http.ResponseWriter, r *http.Request) {
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(r.FormValue(name)); err == nil {
			return n
		}
		return otherwise
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.answered)
	switch r.PathValue("how") {
	case "crash":
		fmt.Fprintln(os.Stderr, "crashing on demand")
		s.exit(number("code", 1))
	case "hang":
		if s.hung == nil {
			s.hung = make(chan struct{})
		}
	case "leak":
		block := make([]byte, number("mb", 64)<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1 // a page that was never written takes no memory
		}
		s.leaked = append(s.leaked, block)
	case "fail-health":
		s.failHealth = true
	case "fail-ready":
		s.failReady = true
	case "flap":
		s.flapping = max(1, number("times", 1))
	case "freeze":
		s.game.freeze(true)
	case "slow":
		s.delay = time.Duration(number("ms", 5000)) * time.Millisecond
	case "recover":
		if s.hung != nil {
			close(s.hung)
		}
		s.hung, s.failHealth, s.failReady, s.flapping, s.delay, s.leaked = nil, false, false, 0, 0, nil
		s.game.freeze(false)
	default:
		http.Error(w, "crash, hang, leak, fail-health, fail-ready, flap, freeze, slow or recover", http.StatusNotFound)
	}
}
