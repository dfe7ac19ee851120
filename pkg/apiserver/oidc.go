package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/wait"
	apiserverconfig "k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

const (
	// issuerPatience is how long new issuers may take to answer before they count,
	// and the old ones no longer do; and how long before it is told that one does not.
	issuerPatience = 3 * time.Second
	issuerPoll     = 200 * time.Millisecond
	// tokenCheck is what the check of one token may take, by issuers that are replaced.
	tokenCheck = time.Minute
)

// CheckAuthenticationConfig says what is wrong with an AuthenticationConfiguration.
func CheckAuthenticationConfig(path string) error {
	_, err := openIssuers(path)
	return err
}

// issuers know people by tokens that others signed, as a file in Kubernetes' form,
// AuthenticationConfiguration, tells.
type issuers struct {
	file *watchedFile[[]apiserverconfig.JWTAuthenticator]
	// first is what the file said at the start.
	first   []apiserverconfig.JWTAuthenticator
	current atomic.Pointer[generation]
}

// generation is the issuers of one version of the file.
type generation struct {
	authenticator.Token
	checks  []func() error
	stop    context.CancelFunc
	reached chan struct{} // closed once the keys of all are known
}

func openIssuers(path string) (*issuers, error) {
	i := &issuers{file: &watchedFile[[]apiserverconfig.JWTAuthenticator]{
		what: "authentication configuration", path: path, read: readFile, parse: parseIssuers,
	}}
	var err error
	i.first, err = i.file.load()
	return i, err
}

// AuthenticateToken says whose token it is; before run, nobody's.
func (i *issuers) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	current := i.current.Load()
	if current == nil {
		return nil, false, nil
	}
	return current.AuthenticateToken(ctx, token)
}

// run fetches the issuers' keys, and follows the file, until ctx ends. That an issuer
// is away keeps nobody waiting but those who come with its tokens.
func (i *issuers) run(ctx context.Context, log logr.Logger) {
	use := func(config []apiserverconfig.JWTAuthenticator) {
		if err := i.use(ctx, config, log); err != nil {
			log.Error(err, "the issuers of tokens could not be changed")
		}
	}
	use(i.first)
	i.file.follow(ctx, log, use)
}

// dependency is the file, and the issuers whose keys are not known yet.
func (i *issuers) dependency() healthz.HealthChecker {
	return Check("issuers", func(context.Context) error {
		current := i.current.Load()
		if current == nil {
			return errors.New("not asked yet")
		}
		failures := []error{i.file.check()}
		for _, check := range current.checks {
			failures = append(failures, check())
		}
		return errors.Join(failures...)
	})
}

// use replaces the issuers, once the new ones answer: nobody who comes with a token
// of one that is in both is turned away.
func (i *issuers) use(ctx context.Context, config []apiserverconfig.JWTAuthenticator, log logr.Logger) error {
	next, err := newGeneration(ctx, config, log)
	if err != nil {
		return err
	}
	if old := i.current.Load(); old != nil {
		select {
		case <-ctx.Done():
		case <-next.reached:
		case <-time.After(issuerPatience):
		}
		time.AfterFunc(tokenCheck, old.stop)
	}
	i.current.Store(next)
	return nil
}

func newGeneration(ctx context.Context, config []apiserverconfig.JWTAuthenticator, log logr.Logger) (*generation, error) {
	ctx, stop := context.WithCancel(ctx)
	next := &generation{stop: stop, reached: make(chan struct{})}
	var tokens []authenticator.Token
	var all sync.WaitGroup
	for _, c := range config {
		issuer, err := newIssuer(ctx, c)
		if err != nil {
			stop()
			return nil, fmt.Errorf("preparing the issuer %s: %w", c.Issuer.URL, err)
		}
		tokens, next.checks = append(tokens, issuer), append(next.checks, issuer.HealthCheck)
		all.Go(func() { reach(ctx, issuer.HealthCheck, log.WithValues("issuer", c.Issuer.URL)) })
	}
	go func() {
		all.Wait()
		close(next.reached)
	}()
	next.Token = tokenunion.New(tokens...)
	return next, nil
}

func newIssuer(ctx context.Context, config apiserverconfig.JWTAuthenticator) (oidc.AuthenticatorTokenWithHealthCheck, error) {
	options := oidc.Options{JWTAuthenticator: config, SupportedSigningAlgs: oidc.AllValidSigningAlgorithms()}
	if pem := config.Issuer.CertificateAuthority; pem != "" {
		ca, err := dynamiccertificates.NewStaticCAContent("issuer", []byte(pem))
		if err != nil {
			return nil, err
		}
		options.CAContentProvider = ca
	}
	return oidc.New(ctx, options)
}

// reach waits until an issuer's keys are known, and tells of one that is long in coming.
func reach(ctx context.Context, check func() error, log logr.Logger) {
	asked, told := time.Now(), false
	_ = wait.PollUntilContextCancel(ctx, issuerPoll, true, func(context.Context) (bool, error) {
		err := check()
		if err != nil && !told && time.Since(asked) > issuerPatience {
			told = true
			log.Error(err, "an issuer of tokens cannot be reached: who comes with one is not known")
		}
		return err == nil, nil
	}) // the error is ctx's
	if told && ctx.Err() == nil {
		log.Info("the issuer of tokens was reached")
	}
}

var configCodecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}()

// parseIssuers names the field that is wrong, on one line.
func parseIssuers(content []byte) ([]apiserverconfig.JWTAuthenticator, error) {
	issuers, err := decodeIssuers(content)
	if err != nil {
		return nil, errors.New(strings.Join(strings.Fields(err.Error()), " "))
	}
	return issuers, nil
}

func decodeIssuers(content []byte) ([]apiserverconfig.JWTAuthenticator, error) {
	decoded, err := runtime.Decode(configCodecs.UniversalDecoder(), content)
	if err != nil {
		return nil, err
	}
	config, ok := decoded.(*apiserverconfig.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("kind: must be AuthenticationConfiguration, is %s", decoded.GetObjectKind().GroupVersionKind().Kind)
	}
	errs := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, nil)
	if config.Anonymous != nil {
		errs = append(errs, field.Forbidden(field.NewPath("anonymous"), "whom nobody knows may ask for health, and for nothing else"))
	}
	for n, jwt := range config.JWT {
		if jwt.Issuer.EgressSelectorType != "" {
			errs = append(errs, field.Forbidden(field.NewPath("jwt").Index(n).Child("issuer", "egressSelectorType"), "there is no proxy here to select"))
		}
	}
	return config.JWT, errs.ToAggregate()
}
