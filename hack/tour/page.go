package main

import (
	"regexp"
	"strings"
)

// step is one command of a page, and what the page shows that it prints.
type step struct {
	line    int
	command string
	prints  []string
}

const (
	block    = "```console"
	prompt   = "$ "
	passOver = "<!-- not typed:"
)

// steps reads the console blocks of a page.
func steps(page string) []step {
	var all []step
	inside, skip, open := false, false, false
	for i, line := range strings.Split(page, "\n") {
		switch {
		case !inside && strings.HasPrefix(line, passOver):
			skip = true
		case !inside && line == block:
			inside, open = true, false
		case inside && line == "```":
			inside, skip = false, false
		case !inside || skip:
		case strings.HasPrefix(line, prompt):
			all = append(all, step{line: i + 1, command: strings.TrimPrefix(line, prompt)})
			open = strings.HasSuffix(line, `\`)
		case open || strings.HasPrefix(line, "> "):
			last := &all[len(all)-1]
			last.command += "\n" + strings.TrimPrefix(line, "> ")
			open = strings.HasSuffix(line, `\`)
		default:
			last := &all[len(all)-1]
			last.prints = append(last.prints, line)
		}
	}
	return all
}

// looks are the commands that change nothing, however often they are typed.
var looks = regexp.MustCompile(`^(kubectl|rtctl|bin/rtctl) (galaxy )?(get|describe|events|wait|explain|auth|api-resources|diff|history|status|drift|plan|top|logs)\b|^curl -s (-H '[^']*' )?[^-]|^(docker (ps|inspect|logs)|ls|cat|psql|tail|grep)\b`)

// looksOnly says that a step may be typed again.
func (s step) looksOnly() bool { return looks.MatchString(s.command) }

// different is what is another thing each time: it is compared as the word that
// stands for it.
var different = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`), "TIME"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`), "DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{8}([0-9a-f]{4})?\b`), "ID"},
	{regexp.MustCompile(`\b([A-Z0-9]{4}:){11}[A-Z0-9]{4}\b`), "ENGINE"},
	{regexp.MustCompile(`(^|[^\w.-])(\d+(\.\d+)?(ms|µs|d|h|m|s))+\b`), "${1}AGE"},
	{regexp.MustCompile(`v\d+\.\d+\.\d+-[0-9A-Za-z.-]+`), "VERSION"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

// plain is a line without what differs each time.
func plain(line string) string {
	for _, d := range different {
		line = d.what.ReplaceAllString(line, d.is)
	}
	return strings.TrimSpace(line)
}

const anything = "…"

// shown says that what was printed is what a page shows.
func shown(want, printed []string) bool {
	if len(want) == 0 {
		return len(printed) == 0
	}
	if want[0] == anything {
		return shown(want[1:], printed) || len(printed) > 0 && shown(want, printed[1:])
	}
	return len(printed) > 0 && like(want[0], printed[0]) && shown(want[1:], printed[1:])
}

func like(want, printed string) bool {
	parts := strings.Split(plain(want), anything)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(plain(printed))
}
