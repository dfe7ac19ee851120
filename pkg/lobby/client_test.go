package lobby

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGameIsAskedFor(t *testing.T) {
	var request *http.Request
	lobby := newStub(t, func(w http.ResponseWriter, r *http.Request) {
		request = r
		says(200, chess)(w, r)
	})
	got, err := newClient(t, lobby.URL+"/lobby/").Game(t.Context(), "chess")
	require.NoError(t, err)
	assert.Equal(t, theChess, got)
	assert.Equal(t, "GET /lobby/api/v1/internal/games/chess", request.Method+" "+request.RequestURI)
	assert.Equal(t, "application/json", request.Header.Get("Accept"))
	assert.Empty(t, request.Header.Get("Authorization"))
}

func TestFailures(t *testing.T) {
	without := func(field string) string { return strings.Replace(chess, field, "x_"+field, 1) }
	for name, test := range map[string]struct {
		act   http.HandlerFunc
		kind  Kind
		code  string
		asked int32
	}{
		"404":                {says(404, ""), NotFound, "not_found", 1},
		"401":                {says(401, ""), Refused, "internal_error", 1},
		"403":                {says(403, ""), Refused, "internal_error", 1},
		"400":                {says(400, ""), Refused, "internal_error", 1},
		"429":                {says(429, ""), Busy, "service_unavailable", 4},
		"500":                {says(500, ""), Unavailable, "service_unavailable", 4},
		"503":                {says(503, "", "Retry-After", "soon"), Unavailable, "service_unavailable", 4},
		"connection reset":   {reset, Unavailable, "service_unavailable", 4},
		"half an answer":     {half, Unavailable, "service_unavailable", 4},
		"large head":         {says(200, chess, "X", strings.Repeat("x", 100<<10)), Unavailable, "service_unavailable", 4},
		"no content":         {says(204, ""), Malformed, "internal_error", 1},
		"empty":              {says(200, ""), Malformed, "internal_error", 1},
		"HTML":               {says(200, "<html>", "Content-Type", "text/html"), Malformed, "internal_error", 1},
		"a list":             {says(200, "["+chess+"]"), Malformed, "internal_error", 1},
		"null":               {says(200, "null"), Malformed, "internal_error", 1},
		"two answers":        {says(200, chess+chess), Malformed, "internal_error", 1},
		"too large":          {endless, Malformed, "internal_error", 1},
		"no game_id":         {says(200, without("game_id")), Malformed, "internal_error", 1},
		"no status":          {says(200, without("status")), Malformed, "internal_error", 1},
		"no engine_image":    {says(200, without("engine_image")), Malformed, "internal_error", 1},
		"no engine_version":  {says(200, without("engine_version")), Malformed, "internal_error", 1},
		"an image of null":   {says(200, strings.Replace(chess, `"galaxy/chess"`, "null", 1)), Malformed, "internal_error", 1},
		"a version number":   {says(200, strings.Replace(chess, `"1.2.3"`, "1.2", 1)), Malformed, "internal_error", 1},
		"another game":       {says(200, strings.Replace(chess, `"chess"`, `"go"`, 1)), Malformed, "internal_error", 1},
		"redirected forever": {says(302, "", "Location", "/elsewhere"), Malformed, "internal_error", maxRedirects + 1},
	} {
		t.Run(name, func(t *testing.T) {
			lobby := newStub(t, test.act)
			got, err := newClient(t, lobby.URL).Game(t.Context(), "chess")
			assert.Equal(t, test.kind, KindOf(err), "%v", err)
			assert.Equal(t, test.code, KindOf(err).Code())
			assert.Equal(t, test.asked, lobby.asked.Load())
			assert.Zero(t, got)
		})
	}
}

func TestWrongFieldIsNamed(t *testing.T) {
	_, err := decode("chess", []byte(strings.Replace(chess, `"1.2.3"`, "1.2", 1)))
	assert.ErrorContains(t, err, "engine_version in the answer is of the wrong type")
	_, err = decode("chess", []byte(`{"game_id": "chess"}`))
	assert.ErrorContains(t, err, "status is missing in the answer")
}

func TestNobodyListens(t *testing.T) {
	lobby := newStub(t, says(200, chess))
	lobby.Close()
	_, err := newClient(t, lobby.URL).Game(t.Context(), "chess")
	assert.Equal(t, Unavailable, KindOf(err), "%v", err)
}

func TestNoGamesID(t *testing.T) {
	lobby := newStub(t, says(200, chess))
	for _, id := range []string{"", "..", "chess/../go", "Chess", strings.Repeat("x", 64)} {
		_, err := newClient(t, lobby.URL).Game(t.Context(), id)
		assert.Equal(t, Invalid, KindOf(err), "%q", id)
	}
	assert.Zero(t, lobby.asked.Load())
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	for name, act := range map[string]http.HandlerFunc{
		"500": says(500, ""), "429": says(429, ""), "connection reset": reset, "half an answer": half,
	} {
		t.Run(name, func(t *testing.T) {
			lobby := newStub(t, act, act, says(200, chess))
			got, err := newClient(t, lobby.URL).Game(t.Context(), "chess")
			require.NoError(t, err)
			assert.Equal(t, theChess, got)
			assert.EqualValues(t, 3, lobby.asked.Load())
		})
	}
}

// Slow answers are given up, each after its time, and the question after its own.
func TestSlowAnswers(t *testing.T) {
	for name, act := range map[string]http.HandlerFunc{"no head": silent, "no end": stuck} {
		t.Run(name, func(t *testing.T) {
			clock, lobby := newPacer(), newStub(t, act)
			got := asks(t.Context(), newClient(t, lobby.URL, clock.paces, func(o *Options) { o.AttemptTimeout = 4 * time.Second }))
			for attempt := int32(1); attempt <= 2; attempt++ {
				lobby.isAsked(t, attempt)
				clock.Step(4 * time.Second)
				clock.Step(receive(t, clock.pauses))
			}
			lobby.isAsked(t, 3)
			clock.SetTime(begin.Add(10 * time.Second))
			err := receive(t, got).err
			assert.Equal(t, Timeout, KindOf(err), "%v", err)
			assert.Equal(t, "timeout", KindOf(err).Code())
			assert.False(t, clock.HasWaiters())
		})
	}
}

func TestSlowAnswerAndThenAnother(t *testing.T) {
	clock, lobby := newPacer(), newStub(t, stuck, says(200, chess))
	got := asks(t.Context(), newClient(t, lobby.URL, clock.paces))
	lobby.isAsked(t, 1)
	clock.Step(3 * time.Second)
	clock.Step(receive(t, clock.pauses))
	a := receive(t, got)
	require.NoError(t, a.err)
	assert.Equal(t, theChess, a.record)
}

func TestPausesGrowWithJitter(t *testing.T) {
	clock, lobby := newPacer(), newStub(t, says(500, ""))
	got := asks(t.Context(), newClient(t, lobby.URL, clock.paces))
	for _, least := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		pause := receive(t, clock.pauses)
		assert.GreaterOrEqual(t, pause, least)
		assert.LessOrEqual(t, pause, least*3/2)
		clock.Step(pause)
	}
	assert.Equal(t, Unavailable, KindOf(receive(t, got).err))
	assert.EqualValues(t, 4, lobby.asked.Load())
}

func TestRetryAfterIsHeeded(t *testing.T) {
	for name, test := range map[string]struct {
		code   int
		header string
		pause  time.Duration
	}{
		"seconds": {429, "5", 5 * time.Second},
		"date":    {429, begin.Add(7 * time.Second).Format(http.TimeFormat), 7 * time.Second},
		"503":     {503, "4", 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			clock, lobby := newPacer(), newStub(t, says(test.code, "", "Retry-After", test.header), says(200, chess))
			got := asks(t.Context(), newClient(t, lobby.URL, clock.paces))
			require.Equal(t, test.pause, receive(t, clock.pauses))
			clock.Step(test.pause)
			require.NoError(t, receive(t, got).err)
		})
	}
}

// Who has to wait longer than the question lasts is told so at once.
func TestRetryAfterTheDeadline(t *testing.T) {
	clock, lobby := newPacer(), newStub(t, says(429, "", "Retry-After", "11"))
	err := receive(t, asks(t.Context(), newClient(t, lobby.URL, clock.paces))).err
	assert.Equal(t, Busy, KindOf(err), "%v", err)
	assert.EqualValues(t, 1, lobby.asked.Load())
	assert.Empty(t, clock.pauses)
}

func TestCallerGivesUp(t *testing.T) {
	t.Run("in an attempt", func(t *testing.T) {
		lobby := newStub(t, silent)
		ctx, cancel := context.WithCancel(t.Context())
		got := asks(ctx, newClient(t, lobby.URL))
		lobby.isAsked(t, 1)
		cancel()
		err := receive(t, got).err
		assert.Equal(t, Canceled, KindOf(err), "%v", err)
		assert.ErrorIs(t, err, context.Canceled)
	})
	t.Run("in a pause", func(t *testing.T) {
		clock, lobby := newPacer(), newStub(t, says(500, ""))
		ctx, cancel := context.WithCancel(t.Context())
		got := asks(ctx, newClient(t, lobby.URL, clock.paces))
		receive(t, clock.pauses)
		cancel()
		assert.ErrorIs(t, receive(t, got).err, context.Canceled)
	})
	t.Run("by its deadline", func(t *testing.T) {
		lobby := newStub(t, silent)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := newClient(t, lobby.URL).Game(ctx, "chess")
		assert.Equal(t, Canceled, KindOf(err), "%v", err)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestRedirects(t *testing.T) {
	elsewhere := newStub(t, says(200, chess))
	t.Run("on the Lobby itself", func(t *testing.T) {
		lobby := newStub(t, says(307, "", "Location", "/v2/chess"), says(200, chess))
		got, err := newClient(t, lobby.URL).Game(t.Context(), "chess")
		require.NoError(t, err)
		assert.Equal(t, theChess, got)
	})
	t.Run("away from it", func(t *testing.T) {
		lobby := newStub(t, says(307, "", "Location", elsewhere.URL))
		_, err := newClient(t, lobby.URL).Game(t.Context(), "chess")
		assert.Equal(t, Malformed, KindOf(err), "%v", err)
		assert.Zero(t, elsewhere.asked.Load())
	})
}

// A proxy that the environment names is for the world outside.
func TestNoProxy(t *testing.T) {
	assert.Nil(t, newHTTPClient(nil).Transport.(*http.Transport).Proxy)
}

func TestImage(t *testing.T) {
	for image, want := range map[string]string{
		"galaxy/chess":                   "galaxy/chess:1.2.3",
		"registry:5000/chess":            "registry:5000/chess:1.2.3",
		"registry:5000/chess:1.2.4":      "registry:5000/chess:1.2.4",
		"galaxy/chess@sha256:0123456789": "galaxy/chess@sha256:0123456789",
	} {
		assert.Equal(t, want, GameRecord{EngineImage: image, EngineVersion: "1.2.3"}.Image())
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		says    string
	}{
		"nothing":            {Options{}, "must be http://host"},
		"no scheme":          {Options{URL: "lobby:8080"}, "must be http://host"},
		"another scheme":     {Options{URL: "ftp://lobby"}, "must be http://host"},
		"no host":            {Options{URL: "http:///api"}, "must be http://host"},
		"no URL at all":      {Options{URL: "http://u:secret@lo bby"}, "must be http://host"},
		"a password":         {Options{URL: "http://u:secret@lobby"}, "no user, query or fragment"},
		"a query":            {Options{URL: "http://lobby?key=secret"}, "no user, query or fragment"},
		"no key":             {Options{URL: "https://lobby", CertFile: "cert"}, "together or not at all"},
		"TLS without TLS":    {Options{URL: "http://lobby", CAFile: "ca"}, "need an https URL"},
		"no token file":      {Options{URL: "http://lobby", TokenFile: "/nowhere/token"}, "/nowhere/token"},
		"an empty token":     {Options{URL: "http://lobby", TokenFile: file(t, "\n")}, "holds no bearer token"},
		"two lines of token": {Options{URL: "http://lobby", TokenFile: file(t, "secret\nsecret")}, "holds no bearer token"},
		"no authority":       {Options{URL: "https://lobby", CAFile: file(t, "secret")}, "holds no certificate"},
		"no certificate":     {Options{URL: "https://lobby", CertFile: file(t, "secret"), KeyFile: file(t, "secret")}, "PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(test.options)
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "secret")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}
