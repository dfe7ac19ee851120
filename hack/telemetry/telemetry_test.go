// Package telemetry_test holds the dashboard and the alerts in config to Prometheus'
// own parser, and to the metrics that docs/metrics.md lists. It is a module of its
// own, so that the product does not depend on all of Prometheus.
package telemetry_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

const rulesFile = "../../config/prometheus/rules.yaml"

var promQL = parser.NewParser(parser.Options{})

// catalogue holds the labels of each series that exists, by its name.
type catalogue map[string][]string

// added are the labels that a scrape adds; they are all that up has, which it makes.
var added = []string{"job", "instance"}

// documented reads the page, which another test holds to a running manager.
func documented(t *testing.T) catalogue {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	series := catalogue{"up": added}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		name, kind, known := row[1], row[2], slices.Clone(added)
		for _, label := range strings.Split(row[3], ",") {
			if label = strings.Trim(label, " `"); label != "" {
				known = append(known, label)
			}
		}
		if kind != "histogram" {
			series[name] = known
			continue
		}
		series[name+"_sum"], series[name+"_count"] = known, known
		series[name+"_bucket"] = append(slices.Clone(known), "le")
	}
	require.Greater(t, len(series), 50)
	return series
}

// check says that an expression can be read, and rests on series and labels that
// there are.
func (c catalogue) check(t require.TestingT, expression, where string) {
	parsed, err := promQL.ParseExpr(expression)
	require.NoError(t, err, where)
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			require.Contains(t, c, n.Name, "%s: no such metric: %s", where, expression)
			for _, matcher := range n.LabelMatchers {
				if matcher.Name != labels.MetricName {
					require.Contains(t, c[n.Name], matcher.Name, "%s: %s has no such label: %s", where, n.Name, expression)
				}
			}
		case *parser.AggregateExpr:
			c.checkGrouping(t, n, where)
		}
		return nil
	})
}

func (c catalogue) checkGrouping(t require.TestingT, n *parser.AggregateExpr, where string) {
	parser.Inspect(n.Expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			for _, label := range n.Grouping {
				require.Contains(t, c[selector.Name], label, "%s: %s has no such label: %s", where, selector.Name, n)
			}
		}
		return nil
	})
}

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.LegacyValidation, promQL, promslog.NewNopLogger())
	require.Empty(t, errs)
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

func TestRules(t *testing.T) {
	series, seen := documented(t), map[string]bool{}
	for _, rule := range rules(t) {
		require.NotEmpty(t, rule.Alert, "%s", rule.Expr)
		require.False(t, seen[rule.Alert], "%s is there twice", rule.Alert)
		seen[rule.Alert] = true
		series.check(t, rule.Expr, rule.Alert)
		require.Contains(t, []string{"critical", "warning"}, rule.Labels["severity"], rule.Alert)
		require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		require.NotEmpty(t, rule.Annotations["description"], rule.Alert)
		require.Equal(t, "docs/runbook.md#"+strings.ToLower(rule.Alert), rule.Annotations["runbook_url"], rule.Alert)
	}
}

// Each alert has its place in the runbook.
func TestRunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbook.md")
	require.NoError(t, err)
	for _, rule := range rules(t) {
		require.Regexp(t, `(?m)^#+ `+rule.Alert+`$`, string(page), "no heading for the alert")
	}
}

// What is scraped is called as the alerts have it.
func TestScrape(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(filepath.Dir(rulesFile), "scrape.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(config), "job_name: runtime-manager\n")
	require.Contains(t, string(config), filepath.Base(rulesFile))
}
