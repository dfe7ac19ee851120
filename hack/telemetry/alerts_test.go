package telemetry_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	prometheus "github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"
)

// suite is rules_test.yaml.
type suite struct {
	RuleFiles []string       `yaml:"rule_files"`
	Interval  model.Duration `yaml:"evaluation_interval"`
	Tests     []scene
}

// scene is what happens, and which alerts fire at which time.
type scene struct {
	Name     string
	Interval model.Duration
	Input    []struct{ Series, Values string } `yaml:"input_series"`
	Expected []expectation                     `yaml:"alert_rule_test"`
}

type expectation struct {
	At     model.Duration `yaml:"eval_time"`
	Alert  string         `yaml:"alertname"`
	Alerts []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

func TestAlerts(t *testing.T) {
	content, err := os.ReadFile("../../config/prometheus/rules_test.yaml")
	require.NoError(t, err)
	var s suite
	require.NoError(t, yaml.UnmarshalStrict(content, &s))
	require.Equal(t, []string{"rules.yaml"}, s.RuleFiles)
	for _, scene := range s.Tests {
		t.Run(scene.Name, func(t *testing.T) { scene.play(t, time.Duration(s.Interval)) })
	}
}

// play evaluates all rules at each step, and compares what fires.
func (s scene) play(t *testing.T, step time.Duration) {
	var load strings.Builder
	fmt.Fprintf(&load, "load %ds\n", int(time.Duration(s.Interval).Seconds()))
	for _, in := range s.Input {
		fmt.Fprintf(&load, "  %s %s\n", in.Series, in.Values)
	}
	loader, err := promqltest.NewLazyLoader(load.String(), promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true})
	require.NoError(t, err)
	defer loader.Close()
	manager := prometheus.NewManager(&prometheus.ManagerOptions{
		QueryFunc: prometheus.EngineQueryFunc(loader.QueryEngine(), loader.Storage()), AppendableV2: loader.Storage(),
		Context: context.Background(), Logger: promslog.NewNopLogger(), Parser: promQL,
		NotifyFunc: func(context.Context, string, ...*prometheus.Alert) {},
	})
	groups, errs := manager.LoadGroups(step, labels.EmptyLabels(), "", nil, false, rulesFile)
	require.Empty(t, errs)
	var last time.Duration
	for _, e := range s.Expected {
		last = max(last, time.Duration(e.At))
	}
	for at := time.Duration(0); at <= last; at += step {
		now := time.Unix(0, 0).UTC().Add(at)
		loader.WithSamplesTill(now, func(err error) {
			require.NoError(t, err)
			for _, group := range groups {
				group.Eval(loader.Context(), now)
			}
		})
		for _, e := range s.Expected {
			if time.Duration(e.At) == at {
				e.compare(t, groups)
			}
		}
	}
}

func (e expectation) compare(t *testing.T, groups map[string]*prometheus.Group) {
	t.Helper()
	var fire []*prometheus.Alert
	known := false
	for _, group := range groups {
		for _, rule := range group.AlertingRules() {
			require.NoError(t, rule.LastError(), rule.Name())
			if rule.Name() != e.Alert {
				continue
			}
			known = true
			for _, alert := range rule.ActiveAlerts() {
				if alert.State == prometheus.StateFiring {
					fire = append(fire, alert)
				}
			}
		}
	}
	require.True(t, known, "there is no alert %s", e.Alert)
	require.Len(t, fire, len(e.Alerts), "%s at %s", e.Alert, e.At)
	for i, expected := range e.Alerts {
		got := fire[i].Labels.Map()
		delete(got, labels.AlertName)
		require.Equal(t, expected.Labels, got, "%s at %s", e.Alert, e.At)
		if expected.Annotations != nil {
			require.Equal(t, expected.Annotations, fire[i].Annotations.Map(), "%s at %s", e.Alert, e.At)
		}
	}
}
