package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// EnvironmentPrefix begins the variable of each flag: RTM_DATA_DIR is --data-dir.
const EnvironmentPrefix = "RTM_"

// FromEnvironment sets each flag that the command line left alone from its
// environment variable.
func FromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		name := variable(f)
		value, ok := lookup(name)
		if !ok || f.Changed || first != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			first = fmt.Errorf("%s: %w", name, err)
		}
	})
	return first
}

// UnreadVariables returns the names of those variables of ours in an environment,
// as os.Environ returns it, that no flag reads: mostly a name is misspelt.
func UnreadVariables(flags *pflag.FlagSet, environment []string) []string {
	read := map[string]bool{}
	flags.VisitAll(func(f *pflag.Flag) { read[variable(f)] = true })
	var unread []string
	for _, setting := range environment {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, EnvironmentPrefix) && !read[name] {
			unread = append(unread, name)
		}
	}
	slices.Sort(unread)
	return unread
}

func variable(f *pflag.Flag) string {
	return EnvironmentPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}
