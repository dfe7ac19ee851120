package rtctl

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/cli-runtime/pkg/printers"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Exit codes of verbs that look for differences: those of diff.
const (
	exitDiffers = 1
	exitTrouble = 2
)

// differenceCodes is for the help of such verbs.
const differenceCodes = "It ends with 0 where nothing differs, with 1 where something does, and with 2 on an error."

// seekDifferences has a command end as diff does, whatever goes wrong.
func seekDifferences(cmd *cobra.Command, run func(cmd *cobra.Command, args []string) (differs bool, err error)) {
	trouble := func(err error) error {
		if err == nil {
			return nil
		}
		return &failure{err.Error(), exitTrouble}
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return trouble(cmd.Parent().FlagErrorFunc()(cmd, err))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		differs, err := run(cmd, args)
		if err == nil && differs {
			return &failure{code: exitDiffers}
		}
		return trouble(err)
	}
}

// Colours, as terminals know them.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

// palette colours what is told, where somebody sees it.
type palette bool

func (p palette) paint(colour, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// colourFlag is --color.
type colourFlag struct{ when string }

func (f *colourFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.when, "color", "auto", "always, never, or auto: on a terminal, unless $NO_COLOR is set")
}

func (f *colourFlag) palette(out io.Writer) (palette, error) {
	switch f.when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return palette(printers.AllowsColorOutput(out)), nil
	}
	return false, fmt.Errorf("--color: must be auto, always or never, is %q", f.when)
}

// value is one side of a difference as people write it in a record.
func value(field, text string) string {
	switch field {
	case "resources.memory":
		if bytes, err := strconv.ParseInt(text, 10, 64); err == nil {
			return resource.NewQuantity(bytes, resource.BinarySI).String()
		}
	case "resources.cpu":
		if cpu, err := resource.ParseQuantity(text); err == nil {
			return cpu.String()
		}
	}
	return text
}

// sides are what there is and what there should be of a difference; either is
// empty where there is nothing, or nothing to tell.
func sides(d v1alpha1.Drift) (actual, desired string) {
	return oneLine(value(d.Field, d.Actual)), oneLine(value(d.Field, d.Desired))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
