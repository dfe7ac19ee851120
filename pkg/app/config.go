package app

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	cliflag "k8s.io/component-base/cli/flag"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/plan"
)

// Config is what a running manager is told. Its zero value is not usable:
// DefaultConfig is.
type Config struct {
	// DataDir holds all that the manager writes.
	DataDir string
	// APIAddress is where the Kubernetes API is served, over TLS.
	APIAddress string
	// Kubeconfig reaches a cluster whose API is used instead; "in-cluster" is the
	// manager's own.
	Kubeconfig string
	// TokenFile and AuthenticationConfig say who is known to the API besides those
	// with a certificate: bearer tokens, and issuers of them; empty is nobody.
	TokenFile            string
	AuthenticationConfig string
	// TLSNames are further names and addresses for the certificate.
	TLSNames []string
	// Audit is what is written down of what is asked of the API.
	Audit AuditConfig
	// RESTAddress is where services that do not speak Kubernetes are served, in the
	// clear on the machine's own loopback and else over TLS; "0" is nowhere.
	RESTAddress string
	// GamesNamespace holds the records that services ask for.
	GamesNamespace string
	// MetricsAddress is where Prometheus metrics are served, as RESTAddress is; "0" is
	// nowhere.
	MetricsAddress string
	// OTLPEndpoint is where traces are sent; empty makes none. TraceSampleRatio is the
	// share that is kept of those that begin here.
	OTLPEndpoint     string
	TraceSampleRatio float64
	// DatabaseURL is a PostgreSQL to use; empty runs a child in DataDir.
	DatabaseURL string
	// Migrate brings the tables up to date on start.
	Migrate bool
	// DockerHost is the engine's address; empty is what the docker command
	// would use.
	DockerHost string
	// RegistryConfig is a file with the credentials of registries, in the form of
	// Docker's config.json; empty is the docker command's own, if there is one.
	RegistryConfig string
	// StateRoot holds the games' state directories; empty is games in DataDir.
	StateRoot string
	// DriftPolicy is Enforce or Observe, for all games.
	DriftPolicy string
	// Concurrency is how many games are worked on at once.
	Concurrency int
	// Resync is how often everything on the engine is listed.
	Resync time.Duration
	// MassVanishShare and MassVanishMin are the share and number of games that may
	// vanish together without recreation being frozen.
	MassVanishShare float64
	MassVanishMin   int
	// Orphans says what becomes of containers that are ours by their label and
	// have no record: report, adopt or remove. OrphanGrace is how long those to be
	// removed are only reported first.
	Orphans     string
	OrphanGrace time.Duration
	// HistoryRetention is how long operations and health events are kept; 0 keeps
	// all of them.
	HistoryRetention time.Duration
	// RedisURL is the Redis whose streams other services write to and read; empty
	// is none.
	RedisURL string
	// StreamMaxLen is how many entries each stream that we write is kept to, about; 0
	// keeps all of them.
	StreamMaxLen int64
	// LobbyURL is what comes before /api/v1 in the Lobby's addresses; empty is none.
	LobbyURL string
	// LobbyTokenFile holds a bearer token for the Lobby, LobbyCertFile and
	// LobbyKeyFile a client certificate, LobbyCAFile the authorities of its own.
	LobbyTokenFile string
	LobbyCertFile  string
	LobbyKeyFile   string
	LobbyCAFile    string
	// LogFormat is console or json, LogLevel debug, info or error.
	LogFormat string
	LogLevel  string
	// Version is the build that clients are told.
	Version string
}

// DefaultConfig needs nothing but a container engine and PostgreSQL's programs.
func DefaultConfig() Config {
	dir := ".runtime-manager"
	if home, err := os.UserHomeDir(); err == nil {
		dir = filepath.Join(home, dir)
	}
	return Config{
		DataDir:        dir,
		APIAddress:     "127.0.0.1:7443",
		Audit:          defaultAuditConfig(),
		RESTAddress:    "127.0.0.1:7080",
		GamesNamespace: metav1.NamespaceDefault,
		MetricsAddress: "127.0.0.1:7081",
		Migrate:        true,
		DriftPolicy:    string(v1alpha1.DriftEnforce),
		Concurrency:    8,

		Resync:          5 * time.Minute,
		MassVanishShare: 0.2,
		MassVanishMin:   3,
		Orphans:         string(plan.OrphansReport),
		OrphanGrace:     time.Hour,

		HistoryRetention: 30 * 24 * time.Hour,
		StreamMaxLen:     100_000,
		TraceSampleRatio: 1,

		LogFormat: "console",
		LogLevel:  "info",
	}
}

// Flags returns the flags that fill the configuration, by group.
func (c *Config) Flags() cliflag.NamedFlagSets {
	var groups cliflag.NamedFlagSets
	c.apiFlags(groups.FlagSet("API"))
	c.clusterFlags(groups.FlagSet("API"))
	c.authFlags(groups.FlagSet("auth"))
	c.tlsFlags(groups.FlagSet("API"))
	c.Audit.flags(groups.FlagSet("audit"))
	c.servicesFlags(groups.FlagSet("services"))
	c.storeFlags(groups.FlagSet("store"))
	c.engineFlags(groups.FlagSet("engine"))
	c.reconcileFlags(groups.FlagSet("reconcile"))
	c.redisFlags(groups.FlagSet("redis"))
	c.lobbyFlags(groups.FlagSet("lobby"))
	c.retentionFlags(groups.FlagSet("retention"))
	c.telemetryFlags(groups.FlagSet("telemetry"))
	c.tracingFlags(groups.FlagSet("telemetry"))
	return groups
}

func (c *Config) apiFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory for all that the manager writes: kubeconfig, pki, postgres, games")
	flags.StringVar(&c.APIAddress, "api-address", c.APIAddress, "host:port where the Kubernetes API is served, over TLS")
}

func (c *Config) servicesFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.RESTAddress, "rest-address", c.RESTAddress, "host:port where services are served, over plain HTTP on the loopback; elsewhere over TLS, to those with a certificate or a token; 0 turns it off")
	flags.StringVar(&c.GamesNamespace, "games-namespace", c.GamesNamespace, "namespace of the games that services ask for")
}

func (c *Config) storeFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.DatabaseURL, "database-url", c.DatabaseURL, "postgres:// URL of a server to use; a child server in the data directory if empty")
	flags.BoolVar(&c.Migrate, "migrate", c.Migrate, "bring the tables up to date on start; false leaves that to 'runtime-manager migrate'")
}

func (c *Config) engineFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.DockerHost, "docker-host", c.DockerHost, "address of the Docker engine, such as unix:///var/run/docker.sock; DOCKER_HOST or the local socket if empty")
	flags.StringVar(&c.RegistryConfig, "registry-config", c.RegistryConfig, "file with the credentials of registries, in the form of Docker's config.json and read at each pull; $DOCKER_CONFIG/config.json or ~/.docker/config.json, if there is one, if empty")
	flags.StringVar(&c.StateRoot, "state-root", c.StateRoot, "directory of the games' state directories; games in the data directory if empty")
}

func (c *Config) reconcileFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.DriftPolicy, "drift-policy", c.DriftPolicy, "Enforce mends what differs from the records, Observe reports it and touches nothing, for all games")
	flags.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "how many games are worked on at once")
	flags.DurationVar(&c.Resync, "resync", c.Resync, "how often all containers are listed, give or take a tenth: what the engine's events did not tell is found then")
	flags.Float64Var(&c.MassVanishShare, "mass-vanish-share", c.MassVanishShare, "share of the games, 0 to 1, whose containers may vanish together; if more do, none is recreated until that is cleared up; 1 turns this off")
	flags.IntVar(&c.MassVanishMin, "mass-vanish-min", c.MassVanishMin, "so few containers may always vanish together")
	flags.StringVar(&c.Orphans, "orphans", c.Orphans, "what becomes of a container with our installation's label whose game has no record: report, adopt or remove")
	flags.DurationVar(&c.OrphanGrace, "orphan-grace", c.OrphanGrace, "how long such a container is only reported before it is removed; begins anew with a restart of the manager")
}

func (c *Config) redisFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.RedisURL, "redis-url", c.RedisURL, "redis://, rediss:// or unix:// URL of the Redis whose streams other services are told on; off if empty")
	flags.Int64Var(&c.StreamMaxLen, "stream-maxlen", c.StreamMaxLen, "how many entries a stream that we write keeps, about; 0 keeps all of them")
}

func (c *Config) lobbyFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.LobbyURL, "lobby-url", c.LobbyURL, "the Lobby's http or https URL, up to /api/v1: it is asked for the image of a game that a job starts without one, and for each game that is to be adopted; nobody is if empty")
	flags.StringVar(&c.LobbyTokenFile, "lobby-token-file", c.LobbyTokenFile, "file with the bearer token for the Lobby, read at each call; none if empty")
	flags.StringVar(&c.LobbyCertFile, "lobby-cert-file", c.LobbyCertFile, "file with the client certificate for the Lobby, read at each call; none if empty")
	flags.StringVar(&c.LobbyKeyFile, "lobby-key-file", c.LobbyKeyFile, "file with that certificate's key")
	flags.StringVar(&c.LobbyCAFile, "lobby-ca-file", c.LobbyCAFile, "file with the authorities that may have signed the Lobby's certificate; the system's if empty")
}

func (c *Config) retentionFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&c.HistoryRetention, "history-retention", c.HistoryRetention, "how long what was done to a game and what happened to it is kept; 0 keeps all of it")
}

func (c *Config) telemetryFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.MetricsAddress, "metrics-address", c.MetricsAddress, "host:port where Prometheus metrics, /livez and /readyz are served, over plain HTTP on the loopback; elsewhere over TLS, the metrics to those with a certificate or a token; 0 turns them off")
	flags.StringVar(&c.LogFormat, "log-format", c.LogFormat, "console or json")
	flags.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info or error")
}

// complete checks the configuration and derives what it leaves out.
func (c Config) complete() (Config, error) {
	if c.DataDir == "" {
		return c, fmt.Errorf("--data-dir must not be empty")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, fmt.Errorf("--data-dir: %w", err)
	}
	c.DataDir = dir
	if c.StateRoot == "" {
		c.StateRoot = filepath.Join(dir, "games")
	}
	if c.StateRoot, err = filepath.Abs(c.StateRoot); err != nil {
		return c, fmt.Errorf("--state-root: %w", err)
	}
	if c.RegistryConfig != "" {
		if _, err := os.Stat(c.RegistryConfig); err != nil {
			return c, fmt.Errorf("--registry-config: %w", err)
		}
	}
	return c, c.check()
}

// check says which value cannot be.
func (c Config) check() error {
	if _, _, err := net.SplitHostPort(c.APIAddress); err != nil {
		return fmt.Errorf("--api-address: %w", err)
	}
	if c.MetricsAddress != "0" {
		if _, _, err := net.SplitHostPort(c.MetricsAddress); err != nil {
			return fmt.Errorf("--metrics-address: %w", err)
		}
	}
	if !c.Migrate && c.DatabaseURL == "" {
		return fmt.Errorf("--migrate=false needs a --database-url: nobody else migrates the embedded database")
	}
	if policy := v1alpha1.DriftPolicy(c.DriftPolicy); policy != v1alpha1.DriftEnforce && policy != v1alpha1.DriftObserve {
		return fmt.Errorf("--drift-policy: must be Enforce or Observe, is %q", c.DriftPolicy)
	}
	if c.Concurrency < 1 {
		return fmt.Errorf("--concurrency: must be at least 1, is %d", c.Concurrency)
	}
	if c.Resync <= 0 {
		return fmt.Errorf("--resync: must be longer than 0, is %s", c.Resync)
	}
	if c.MassVanishShare < 0 || c.MassVanishShare > 1 {
		return fmt.Errorf("--mass-vanish-share: must be from 0 to 1, is %g", c.MassVanishShare)
	}
	if c.MassVanishMin < 0 {
		return fmt.Errorf("--mass-vanish-min: must not be negative, is %d", c.MassVanishMin)
	}
	if c.HistoryRetention < 0 {
		return fmt.Errorf("--history-retention: must not be negative, is %s", c.HistoryRetention)
	}
	return cmp.Or(c.checkCluster(), c.checkTLS(), c.Audit.check(), c.checkServices(), c.checkStreams(), c.checkLobby(), c.checkOrphans(), c.checkAuth(), c.checkTracing())
}

func (c Config) checkServices() error {
	if wrong := validation.IsDNS1123Label(c.GamesNamespace); len(wrong) > 0 {
		return fmt.Errorf("--games-namespace: %s", wrong[0])
	}
	if c.RESTAddress == "0" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.RESTAddress); err != nil {
		return fmt.Errorf("--rest-address: %w", err)
	}
	return nil
}

func (c Config) checkOrphans() error {
	switch plan.OrphanPolicy(c.Orphans) {
	case plan.OrphansReport, plan.OrphansAdopt, plan.OrphansRemove:
	default:
		return fmt.Errorf("--orphans: must be report, adopt or remove, is %q", c.Orphans)
	}
	if c.OrphanGrace < 0 {
		return fmt.Errorf("--orphan-grace: must not be negative, is %s", c.OrphanGrace)
	}
	return nil
}
