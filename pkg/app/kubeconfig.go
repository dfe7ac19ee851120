package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"galaxy.io/runtime-manager/pkg/apiserver"
)

// KubeconfigConfig is what the issue of a kubeconfig is told.
type KubeconfigConfig struct {
	apiserver.KubeconfigOptions
	// Out is the file to write; empty is standard output.
	Out string
}

// defaultKubeconfigLife is that of a certificate which nobody can take back.
const defaultKubeconfigLife = 30 * 24 * time.Hour

// DefaultKubeconfigConfig lacks the user and the groups.
func DefaultKubeconfigConfig() KubeconfigConfig {
	return KubeconfigConfig{KubeconfigOptions: apiserver.KubeconfigOptions{Dir: DefaultConfig().DataDir, Expires: defaultKubeconfigLife}}
}

// Flags returns the flags that fill the configuration.
func (c *KubeconfigConfig) Flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("kubeconfig", pflag.ContinueOnError)
	flags.StringVar(&c.Dir, "data-dir", c.Dir, "the manager's data directory, whose authority signs; it is only read")
	flags.StringVar(&c.User, "user", c.User, "who the kubeconfig speaks as")
	flags.StringSliceVar(&c.Groups, "group", c.Groups, "group of the user, may be repeated: "+strings.Join(groups, ", "))
	flags.StringVar(&c.Out, "out", c.Out, "file to write, for its owner alone; standard output if empty")
	flags.StringVar(&c.Server, "server", c.Server, "the API's URL; that of the administrator's kubeconfig if empty")
	flags.DurationVar(&c.Expires, "expires", c.Expires, "how long it is good for; at most a year")
	return flags
}

// groups are those that may do anything.
var groups = []string{apiserver.GroupAdmins, apiserver.GroupWriters, apiserver.GroupViewers, apiserver.GroupControllers}

// IssueKubeconfig writes a kubeconfig for a user, to stdout unless the configuration
// names a file. Groups that may do nothing are told of on stderr.
func IssueKubeconfig(c KubeconfigConfig, stdout, stderr io.Writer) error {
	if c.User == "" || len(c.Groups) == 0 {
		return fmt.Errorf("--user and --group must be given, as --user alice --group %s", apiserver.GroupViewers)
	}
	content, err := apiserver.IssueKubeconfig(c.KubeconfigOptions, time.Now())
	if err != nil {
		return err
	}
	for _, group := range c.Groups {
		if !slices.Contains(groups, group) {
			fmt.Fprintf(stderr, "warning: the members of %s may do nothing; the groups that may are %s\n", group, strings.Join(groups, ", "))
		}
	}
	if c.Out == "" {
		_, err = stdout.Write(content)
		return err
	}
	return writePrivate(c.Out, content)
}

// writePrivate replaces a file, also one that others could read. What is no file
// stays: root could remove /dev/stdout.
func writePrivate(path string, content []byte) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("--out: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("--out: %s is no regular file; leave it out for standard output", path)
	default:
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}
