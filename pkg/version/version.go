// Package version tells which build a program is.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// The linker sets these, in the Makefile: a clone that belongs to somebody else,
// as in CI, or no clone at all, is nothing that the go command reads a commit from.
var (
	number = ""
	commit = ""
	date   = ""
)

// Number is the version, such as v1.2.0; v0.0.0-dev for a build that was told none.
func Number() string { return cmp.Or(number, "v0.0.0-dev") }

// Commit is the hash of what was built; empty for a build that was told none.
func Commit() string {
	build, _ := debug.ReadBuildInfo() // nil where there is none
	return cmp.Or(commit, setting(build, "vcs.revision"))
}

// Line is the version for people: number, commit and its time, the Go release and
// the platform. What the build was not told is left out.
func Line() string {
	build, _ := debug.ReadBuildInfo() // nil where there is none
	line := Number() + " ("
	if hash := Commit(); hash != "" {
		line += "commit " + hash[:min(len(hash), 12)] + ", "
	}
	if at := cmp.Or(date, setting(build, "vcs.time")); at != "" {
		line += at + ", "
	}
	return line + fmt.Sprintf("%s %s/%s)", runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// setting is what the go command recorded of the build, under a key.
func setting(build *debug.BuildInfo, key string) string {
	if build == nil {
		return ""
	}
	for _, s := range build.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
