package app

import (
	"fmt"

	"github.com/spf13/pflag"

	"galaxy.io/runtime-manager/pkg/apiserver"
)

func (c *Config) authFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.TokenFile, "token-file", c.TokenFile, `file of bearer tokens for the Kubernetes API, mode 0600, with lines of token,user,uid,"group,group"; read again when it changes; none if empty`)
	flags.StringVar(&c.AuthenticationConfig, "authentication-config", c.AuthenticationConfig, "file with an AuthenticationConfiguration of apiserver.config.k8s.io: the OIDC issuers whose tokens the Kubernetes API takes; read again when it changes; none if empty")
}

// checkAuth reads the files before anything is started.
func (c Config) checkAuth() error {
	if c.TokenFile != "" {
		if err := apiserver.CheckTokenFile(c.TokenFile); err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
	}
	if c.AuthenticationConfig != "" {
		if err := apiserver.CheckAuthenticationConfig(c.AuthenticationConfig); err != nil {
			return fmt.Errorf("--authentication-config: %w", err)
		}
	}
	return nil
}
