package apiserver

import (
	"fmt"
	"io"
	"os"

	"gopkg.in/natefinch/lumberjack.v2"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit/policy"
	genericapiserver "k8s.io/apiserver/pkg/server"
	auditlog "k8s.io/apiserver/plugin/pkg/audit/log"
)

// AuditOptions say what is written down of the requests.
type AuditOptions struct {
	// Path is the log's file, - is standard output, and empty writes nothing.
	Path string
	// Policy is an audit.k8s.io/v1 Policy, YAML or JSON.
	Policy []byte
	// MaxAge is how many days old files are kept, MaxBackups how many of them; 0 keeps
	// all. MaxSize is how many megabytes a file may have.
	MaxAge, MaxBackups, MaxSize int
}

// Check says what cannot be.
func (o AuditOptions) Check() error {
	_, err := o.read()
	return err
}

func (o AuditOptions) read() (*auditinternal.Policy, error) {
	read, err := policy.LoadPolicyFromBytes(o.Policy)
	if err != nil {
		return nil, fmt.Errorf("reading the audit policy: %w", err)
	}
	return read, nil
}

// apply has each request judged by the policy, and written before it is answered.
func (o AuditOptions) apply(config *genericapiserver.RecommendedConfig) error {
	if o.Path == "" {
		return nil
	}
	read, err := o.read()
	if err != nil {
		return err
	}
	out, err := o.open()
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	config.AuditPolicyRuleEvaluator = policy.NewPolicyRuleEvaluator(read)
	config.AuditBackend = auditlog.NewBackend(out, auditlog.FormatJson, auditv1.SchemeGroupVersion)
	return nil
}

func (o AuditOptions) open() (io.Writer, error) {
	if o.Path == "-" {
		return os.Stdout, nil
	}
	// The logger opens it with the first line, and keeps who may read it.
	file, err := os.OpenFile(o.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return &lumberjack.Logger{Filename: o.Path, MaxAge: o.MaxAge, MaxBackups: o.MaxBackups, MaxSize: o.MaxSize}, nil
}
