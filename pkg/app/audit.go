package app

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/apiserver"
)

// AuditConfig is what of the requests to the API is written down, and where.
type AuditConfig struct {
	// LogPath is a file, or - for standard output; empty writes nothing.
	LogPath string
	// PolicyFile says what is written; empty is config/audit/policy.yaml.
	PolicyFile string
	// LogMaxAge is how many days old files are kept, LogMaxBackups how many of them; 0
	// keeps all. LogMaxSize is how many megabytes a file may have.
	LogMaxAge, LogMaxBackups, LogMaxSize int
}

func defaultAuditConfig() AuditConfig {
	return AuditConfig{LogMaxAge: 30, LogMaxBackups: 10, LogMaxSize: 100}
}

// flags are named as those of Kubernetes' own API server.
func (c *AuditConfig) flags(flags *pflag.FlagSet) {
	flags.StringVar(&c.LogPath, "audit-log-path", c.LogPath, "file for the audit log of the API, JSON, one line a request; - is standard output; off if empty")
	flags.StringVar(&c.PolicyFile, "audit-policy-file", c.PolicyFile, "file with the audit.k8s.io/v1 Policy that says what is written; changes, shells and logs, by whom and without their contents, if empty")
	flags.IntVar(&c.LogMaxAge, "audit-log-maxage", c.LogMaxAge, "days that old files of the audit log are kept; 0 does not count days")
	flags.IntVar(&c.LogMaxBackups, "audit-log-maxbackup", c.LogMaxBackups, "old files of the audit log that are kept; 0 does not count files")
	flags.IntVar(&c.LogMaxSize, "audit-log-maxsize", c.LogMaxSize, "megabytes after which the audit log begins a new file")
}

func (c AuditConfig) check() error {
	if c.LogMaxAge < 0 || c.LogMaxBackups < 0 || c.LogMaxSize < 1 {
		return fmt.Errorf("--audit-log-maxage and --audit-log-maxbackup must not be negative, and --audit-log-maxsize must be at least 1")
	}
	if c.LogPath == "" && c.PolicyFile != "" {
		return fmt.Errorf("--audit-policy-file needs --audit-log-path")
	}
	options, err := c.options()
	if err == nil {
		err = options.Check()
	}
	if err != nil {
		return fmt.Errorf("--audit-policy-file: %w", err)
	}
	return nil
}

func (c AuditConfig) options() (apiserver.AuditOptions, error) {
	options := apiserver.AuditOptions{Path: c.LogPath, Policy: config.AuditPolicy, MaxAge: c.LogMaxAge, MaxBackups: c.LogMaxBackups, MaxSize: c.LogMaxSize}
	if c.PolicyFile != "" {
		content, err := os.ReadFile(c.PolicyFile)
		if err != nil {
			return options, err
		}
		options.Policy = content
	}
	return options, nil
}
