package app

import (
	"os"
	"regexp"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestVariablesThatNoFlagReads(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.String("data-dir", "", "")
	require.Equal(t, []string{"RTM_DATADIR", "RTM_X"},
		UnreadVariables(flags, []string{"RTM_X=", "RTM_DATA_DIR=/x", "HOME=/root", "RTM_DATADIR=/x=y"}))
	require.Empty(t, UnreadVariables(flags, nil))
}

// The file of variables that the pages show is one that a manager takes.
func TestVariablesOfThePages(t *testing.T) {
	page, err := os.ReadFile("../../docs/examples.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```dotenv\n(.*?)^```$").FindAllSubmatch(page, -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		values, err := dotenv.UnmarshalBytesWithLookup(block[1], nil)
		require.NoError(t, err)
		config := DefaultConfig()
		groups := config.Flags()
		for _, flags := range groups.FlagSets {
			require.NoError(t, FromEnvironment(flags, func(name string) (string, bool) {
				value, ok := values[name]
				return value, ok
			}))
		}
		config.DataDir, config.StateRoot, config.TokenFile = t.TempDir(), t.TempDir(), "" // which are of another machine
		_, err = config.complete()
		require.NoError(t, err)
		knownVariables(t, values)
	}
}
