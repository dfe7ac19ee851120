package rtctl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// listGamesHint is for whom a game is missing.
func (c *connection) listGamesHint() string { return c.program + " get gr -A lists all games" }

// explain puts what the client met into the words of who called the command.
func (c *connection) explain(err error) error {
	var (
		foreign   *tls.CertificateVerificationError
		invalid   x509.CertificateInvalidError
		otherName x509.HostnameError
		network   *net.OpError
		timeout   net.Error
		plain     tls.RecordHeaderError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return c.explainClock("the certificate of "+c.server, invalid.Cert, askClock(c.server))
	case errors.As(err, &otherName):
		return fmt.Errorf("the certificate of %s is not for that address: %w", c.server, otherName)
	case errors.As(err, &foreign):
		return fmt.Errorf("%s is not the manager that %s is for: %w", c.server, c.kubeconfig, foreign.Err)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &plain):
		return fmt.Errorf("%s, which %s names, speaks no TLS: it is no Kubernetes API", c.server, c.kubeconfig)
	case errors.As(err, &timeout) && timeout.Timeout():
		return c.notInTime()
	case errors.As(err, &network):
		return fmt.Errorf("no manager answers at %s, which %s names: %w", c.server, c.kubeconfig, network.Err)
	case apierrors.IsUnauthorized(err):
		return c.explainUnauthorized()
	case apierrors.IsNotFound(err) && apierrors.IsUnexpectedServerError(err):
		return c.servesNoGames()
	}
	return err
}

func (c *connection) notInTime() error {
	return fmt.Errorf("the manager at %s, which %s names, does not answer in time", c.server, c.kubeconfig)
}

func (c *connection) servesNoGames() error {
	return fmt.Errorf("%s serves no games: is %s a manager's kubeconfig?", c.server, c.kubeconfig)
}

// explainUnauthorized tells a certificate that has ended from somebody unknown.
func (c *connection) explainUnauthorized() error {
	server := c.met.clock()
	if mine := clientCertificate(c.config); mine != nil {
		if now := clockOr(server, time.Now()); now.Before(mine.NotBefore) || now.After(mine.NotAfter) {
			return c.explainClock("the certificate in "+c.kubeconfig, mine, server)
		}
	}
	return fmt.Errorf("%s does not know whom %s speaks for: is it another manager's, or too old?", c.server, c.kubeconfig)
}

// explainClock is about a certificate that is not valid now, by one clock or by
// another. The manager's may not be known, and is zero then.
func (c *connection) explainClock(what string, certificate *x509.Certificate, manager time.Time) error {
	const apart = time.Minute // more than what a slow answer takes
	here := time.Now()
	clocks := fmt.Sprintf("%s is valid from %s to %s, and the clock of this machine says %s", what,
		told(certificate.NotBefore), told(certificate.NotAfter), told(here))
	switch difference := manager.Sub(here); {
	case manager.IsZero():
		return fmt.Errorf("%s: is that clock right? If so, the certificate must be issued anew", clocks)
	case difference.Abs() > apart:
		return fmt.Errorf("%s, the manager's %s: set the one that is wrong", clocks, told(manager))
	default:
		return fmt.Errorf("%s, as the manager's does: the certificate must be issued anew", clocks)
	}
}

func told(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// clock is the server's, by its last answer, or zero.
func (l *lastAnswer) clock() time.Time {
	l.Lock()
	defer l.Unlock()
	if l.response == nil {
		return time.Time{}
	}
	return date(l.response)
}

func date(response *http.Response) time.Time {
	at, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

func clockOr(at, otherwise time.Time) time.Time {
	if at.IsZero() {
		return otherwise
	}
	return at
}

// askClock asks a server that is not trusted for nothing but the time, and tells it
// nothing. The answer is zero where there is none.
func askClock(server string) time.Time {
	client := http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	response, err := client.Get(server + "/livez")
	if err != nil {
		return time.Time{}
	}
	defer response.Body.Close()
	return date(response)
}

// clientCertificate is that which the server is shown, or nil.
func clientCertificate(config *rest.Config) *x509.Certificate {
	if config == nil || rest.LoadTLSFiles(config) != nil {
		return nil
	}
	block, _ := pem.Decode(config.CertData)
	if block == nil {
		return nil
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return certificate
}

var (
	noSuchGame     = regexp.MustCompile(`gameruntimes\.runtime\.galaxy\.io "[^"]*" not found`)
	wholeRecord    = regexp.MustCompile(`(?s)patch: Invalid value: ".*": (strict decoding error)`)
	noSuchResource = regexp.MustCompile(`the server doesn't have a resource type|no matches for kind|could not find the requested resource`)
)

// retell puts the failure of a verb of kubectl's into our words, where we have
// better ones. It knows kubectl's words alone, and how the last request ended.
func (c *connection) retell(told *failure) error {
	message := strings.TrimSuffix(strings.TrimPrefix(told.message, "error: "), "\n")
	message = wholeRecord.ReplaceAllString(message, "$1")
	switch met := c.met.failure(); {
	case message == "", strings.HasPrefix(message, "timed out waiting"): // its last request was cut short
	case strings.Contains(message, "Client.Timeout exceeded"): // --request-timeout
		message = c.notInTime().Error()
	case met != nil:
		message = c.explain(met).Error()
	case noSuchGame.MatchString(message):
		message += ": " + c.listGamesHint()
	case noSuchResource.MatchString(message) && c.isForeign():
		message = c.servesNoGames().Error()
	}
	return &failure{message, told.code}
}

// failure is what no verb gets beyond: that nobody answered, or that the server
// does not know us.
func (l *lastAnswer) failure() error {
	l.Lock()
	defer l.Unlock()
	if l.response != nil && l.response.StatusCode == http.StatusUnauthorized {
		return apierrors.NewUnauthorized("")
	}
	return l.err
}

// isForeign tells that the server has never heard of games.
func (c *connection) isForeign() bool {
	client, err := c.flags.ToDiscoveryClient()
	if err != nil {
		return false
	}
	client.Invalidate() // what was at this address before is of no interest
	groups, err := client.ServerGroups()
	if err != nil {
		return apierrors.IsNotFound(err) // no Kubernetes API at all
	}
	for _, group := range groups.Groups {
		if group.Name == v1alpha1.GroupVersion.Group {
			return false
		}
	}
	return true
}
