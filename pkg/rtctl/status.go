package rtctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// statusPatience is how long a manager that may be in trouble is waited for.
const statusPatience = 15 * time.Second

// managerStatus is what is told of a manager.
type managerStatus struct {
	Server  string `json:"server"`
	Version string `json:"version"`
	Client  string `json:"client"`
	// Ready says that all dependencies are ok, and that somebody leads.
	Ready        bool         `json:"ready"`
	Dependencies []dependency `json:"dependencies"`
	// Leader, Games and Engines are missing where they cannot be told: Untold says why.
	Leader  *leader      `json:"leader,omitempty"`
	Games   *gamesStatus `json:"games,omitempty"`
	Engines []engineSeen `json:"engines,omitempty"`
	Untold  []string     `json:"untold,omitempty"`

	at time.Time // by the server's clock
}

// dependency is one line of /readyz.
type dependency struct {
	Name string `json:"name"`
	// State is ok, degraded where requests are answered all the same, or failed.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateFailed   = "failed"
)

// marks are how /readyz begins its lines.
var marks = map[string]string{"[+]": stateOK, "[~]": stateDegraded, "[-]": stateFailed}

// leader is who acts, of all the replicas.
type leader struct {
	Holder string `json:"holder,omitempty"`
	Leads  bool   `json:"leads"`
	// Since is when it took the lead, Renewed when it last said so.
	Since   time.Time `json:"since,omitzero"`
	Renewed time.Time `json:"renewed,omitzero"`
}

type gamesStatus struct {
	Total int `json:"total"`
	// Wanted are those that are to run, Ready those of them that serve.
	Wanted  int            `json:"wanted"`
	Ready   int            `json:"ready"`
	Phases  map[string]int `json:"phases"`
	Drifted int            `json:"drifted"`
}

type engineSeen struct {
	Name      string `json:"name"`
	Reachable bool   `json:"reachable"`
	Orphans   int32  `json:"orphans"`
	// Frozen says why vanished containers are not made anew.
	Frozen string `json:"frozen,omitempty"`
}

func statusCommand(streams genericiooptions.IOStreams, connection *connection) *cobra.Command {
	output := outputText
	colour := colourFlag{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the manager itself is, and what it depends on",
		Long: "Show how the manager itself is: each dependency, who leads, and its games in numbers. Why a\n" +
			"dependency fails is shown to admins.\n\n" +
			"It ends with 0 where all dependencies are ok and somebody leads, and with 1 otherwise. That\n" +
			"a game is not ready counts as its own trouble, and not as the manager's.",
		Example: "  rtctl status\n  rtctl status -o json",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		palette, err := colour.palette(streams.Out)
		if err != nil {
			return err
		}
		tell := func(s *managerStatus) error { return s.tell(streams.Out, palette, time.Local) }
		switch output {
		case outputText:
		case "json", "yaml":
			tell = func(s *managerStatus) error { return s.print(streams.Out, output) }
		default:
			return fmt.Errorf("--output: must be text, json or yaml, is %q", output)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), statusPatience)
		defer cancel()
		status, err := askStatus(ctx, connection, cmd.Root().Version)
		if err != nil {
			return err
		}
		if err := tell(status); err != nil {
			return err
		}
		if !status.Ready {
			return &failure{code: 1}
		}
		return nil
	}
	cmd.Flags().StringVarP(&output, "output", "o", output, "text, json or yaml")
	colour.add(cmd.Flags())
	return cmd
}

// askStatus asks for all of it. An error is that nobody answers, or knows us.
func askStatus(ctx context.Context, connection *connection, program string) (*managerStatus, error) {
	client, _, err := connection.client()
	if err != nil {
		return nil, err
	}
	content, err := client.Get().AbsPath("/version").MaxRetries(0).Do(ctx).Raw()
	if err != nil {
		return nil, connection.explain(err)
	}
	var build version.Info
	if err := json.Unmarshal(content, &build); err != nil {
		return nil, fmt.Errorf("%s tells no version: %w", connection.server, err)
	}
	status := &managerStatus{
		Server: connection.server, Version: build.GitVersion, Client: program, at: clockOr(connection.met.clock(), time.Now()),
	}
	if status.Dependencies, err = askReadiness(ctx, client); err != nil {
		return nil, connection.explain(err)
	}
	status.Ready = !slices.ContainsFunc(status.Dependencies, func(d dependency) bool { return d.State != stateOK })
	for what, ask := range map[string]func() error{
		"who leads": func() (err error) {
			status.Leader, err = askLeader(ctx, client, status.at)
			return err
		},
		"the games":   func() (err error) { status.Games, err = askGames(ctx, client); return err },
		"the engines": func() (err error) { status.Engines, err = askEngines(ctx, client); return err },
	} {
		if err := ask(); err != nil {
			status.Untold = append(status.Untold, fmt.Sprintf("%s: %v", what, connection.explain(err)))
		}
	}
	slices.Sort(status.Untold)
	if status.Leader != nil {
		status.Ready = status.Ready && status.Leader.Leads
	}
	return status, nil
}

// ownChecks are the API server's of itself.
var ownChecks = []string{"ping", "shutdown", "informer-sync"}

// askReadiness reads /readyz. What is only a step of the API server's own start is
// left out, unless it fails.
func askReadiness(ctx context.Context, client *rest.RESTClient) ([]dependency, error) {
	_, content, err := readPath(ctx, client, "/readyz")
	if err != nil {
		return nil, err
	}
	var all []dependency
	for line := range strings.Lines(content) {
		mark, told := line[:min(len(line), 3)], line[min(len(line), 3):]
		name, told, _ := strings.Cut(strings.TrimSpace(told), " ")
		switch state := marks[mark]; state {
		case "":
		case stateOK:
			if !slices.Contains(ownChecks, name) && !strings.HasPrefix(name, "poststarthook/") {
				all = append(all, dependency{Name: name, State: state})
			}
		default:
			_, reason, _ := strings.Cut(told, ": ")
			all = append(all, dependency{Name: name, State: state, Reason: reasonOf(ctx, client, name, reason)})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the manager tells of no dependency")
	}
	return all, nil
}

// reasonOf asks why one dependency fails, which not everybody may know.
func reasonOf(ctx context.Context, client *rest.RESTClient, name, withheld string) string {
	code, content, err := readPath(ctx, client, "/readyz/"+name)
	switch {
	case err != nil || code == http.StatusForbidden:
		return withheld
	case code == http.StatusOK:
		return "not any more"
	}
	return strings.TrimSpace(strings.TrimPrefix(content, "internal server error:"))
}

// readPath reads what is no object, whatever its code: client-go would drop it with
// an error's.
func readPath(ctx context.Context, client *rest.RESTClient, path string) (code int, content string, err error) {
	url := client.Get().AbsPath(path).Param("verbose", "").URL()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url.String(), nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	const longest = 1 << 20
	told, err := io.ReadAll(io.LimitReader(response.Body, longest))
	return response.StatusCode, string(told), err
}

// askLeader reads the lease, by the clock of the server.
func askLeader(ctx context.Context, client *rest.RESTClient, now time.Time) (*leader, error) {
	content, err := client.Get().AbsPath("/apis/coordination.k8s.io/v1/namespaces/default/leases/runtime-manager").MaxRetries(0).Do(ctx).Raw()
	switch {
	case apierrors.IsNotFound(err):
		return &leader{}, nil
	case err != nil:
		return nil, err
	}
	var lease coordinationv1.Lease
	if err := json.Unmarshal(content, &lease); err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	spec := lease.Spec
	told := &leader{Holder: ptr.Deref(spec.HolderIdentity, "")}
	if spec.AcquireTime != nil {
		told.Since = spec.AcquireTime.Time
	}
	if spec.RenewTime == nil {
		return told, nil
	}
	told.Renewed = spec.RenewTime.Time
	told.Leads = told.Holder != "" && now.Sub(told.Renewed) <= time.Duration(ptr.Deref(spec.LeaseDurationSeconds, 0))*time.Second
	return told, nil
}

func askGames(ctx context.Context, client *rest.RESTClient) (*gamesStatus, error) {
	told := &gamesStatus{Phases: map[string]int{}}
	err := eachGame(ctx, client, "", func(record *v1alpha1.GameRuntime) {
		told.Total++
		phase := string(record.Status.Phase)
		if phase == "" {
			phase = "not seen yet"
		}
		told.Phases[phase]++
		if len(record.Status.Drift) > 0 {
			told.Drifted++
		}
		if record.Spec.State == v1alpha1.StateStopped || !record.DeletionTimestamp.IsZero() {
			return
		}
		told.Wanted++
		if meta.IsStatusConditionTrue(record.Status.Conditions, v1alpha1.ConditionReady) {
			told.Ready++
		}
	})
	if err != nil {
		return nil, err
	}
	return told, nil
}

func askEngines(ctx context.Context, client *rest.RESTClient) ([]engineSeen, error) {
	var reports v1alpha1.DriftReportList
	if err := client.Get().Resource("driftreports").MaxRetries(0).Do(ctx).Into(&reports); err != nil {
		return nil, err
	}
	var all []engineSeen
	for _, report := range reports.Items {
		engine := engineSeen{
			Name: report.Name, Orphans: report.Status.Orphans,
			Reachable: !meta.IsStatusConditionFalse(report.Status.Conditions, v1alpha1.ConditionReachable),
		}
		if frozen := meta.FindStatusCondition(report.Status.Conditions, v1alpha1.ConditionFrozen); frozen != nil && frozen.Status == "True" {
			engine.Frozen = frozen.Message
		}
		all = append(all, engine)
	}
	return all, nil
}
