package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"galaxy.io/runtime-manager/pkg/postgres"
)

// ProvisionConfig is what provisioning is told: what to make, and where to read
// the role's password, which a command line would show to everybody.
type ProvisionConfig struct {
	postgres.Provisioning
	PasswordFile string
}

// DefaultProvisionConfig lacks the administrator's URL.
func DefaultProvisionConfig() ProvisionConfig {
	return ProvisionConfig{Provisioning: postgres.Provisioning{Role: "runtime_manager", Schema: "runtime_manager"}}
}

// Flags returns the flags that fill the configuration.
func (c *ProvisionConfig) Flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("provision", pflag.ContinueOnError)
	flags.StringVar(&c.AdminURL, "admin-url", c.AdminURL, "postgres:// URL of a superuser, or of a role that may create roles and databases")
	flags.StringVar(&c.Role, "role", c.Role, "role that the service connects as; made if it is missing")
	flags.StringVar(&c.Password, "role-password", c.Password, "the role's password, better given as "+EnvironmentPrefix+"ROLE_PASSWORD; left as it is if empty")
	flags.StringVar(&c.PasswordFile, "role-password-file", c.PasswordFile, "file that holds the role's password")
	flags.StringVar(&c.Database, "database", c.Database, "database for the service; made if it is missing; the one of --admin-url if empty")
	flags.StringVar(&c.Schema, "schema", c.Schema, "schema for the tables, owned by the role; made if it is missing")
	return flags
}

// Provision makes the role, the database and the schema that serve and migrate
// need of a server that somebody else runs.
func Provision(ctx context.Context, c ProvisionConfig) error {
	if c.AdminURL == "" {
		return errors.New("--admin-url must name a server; the embedded one needs no provisioning")
	}
	if c.PasswordFile != "" {
		if c.Password != "" {
			return errors.New("--role-password and --role-password-file exclude each other")
		}
		content, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("--role-password-file: %w", err)
		}
		if c.Password = strings.TrimRight(string(content), "\r\n"); c.Password == "" {
			return fmt.Errorf("--role-password-file: %s is empty", c.PasswordFile)
		}
	}
	return postgres.Provision(ctx, c.Provisioning)
}
