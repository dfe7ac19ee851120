package telemetry_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// dashboard is what of Grafana's form matters here.
type dashboard struct {
	UID, Title string
	Templating struct{ List []struct{ Name, Type string } }
	Panels     []panel
}

type panel struct {
	ID          int
	Type, Title string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		RefID        string
		Datasource   datasource
		Expr         string
		LegendFormat string
	}
}

type datasource struct{ Type, UID string }

// chosen is the data source that the dashboard's viewer chose.
var chosen = datasource{"prometheus", "${datasource}"}

func TestDashboard(t *testing.T) {
	content, err := os.ReadFile("../../config/grafana/runtime-manager.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(content, &d))
	require.NotEmpty(t, d.UID)
	require.NotEmpty(t, d.Title)
	require.Equal(t, "datasource", d.Templating.List[0].Name)
	require.Equal(t, "datasource", d.Templating.List[0].Type)

	series, shown := documented(t), ""
	ids, titles, cells := map[int]bool{}, map[string]bool{}, map[string]string{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		require.False(t, titles[p.Title], "two panels are called %s", p.Title)
		ids[p.ID], titles[p.Title] = true, true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := fmt.Sprint(p.GridPos.X+x, ",", p.GridPos.Y+y)
				require.Empty(t, cells[cell], "%s covers another panel", p.Title)
				cells[cell] = p.Title
			}
		}
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		if p.Type == "row" {
			continue
		}
		p.check(t, series)
		for _, target := range p.Targets {
			shown += target.Expr + "\n"
		}
	}
	for name := range series {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(base, "runtime_manager_") {
			require.Contains(t, shown, base, "a metric that no panel shows")
		}
	}
}

func (p panel) check(t *testing.T, series catalogue) {
	t.Helper()
	require.Equal(t, chosen, p.Datasource, p.Title)
	require.NotEmpty(t, p.FieldConfig.Defaults.Unit, "%s has no unit", p.Title)
	require.NotEmpty(t, p.Targets, p.Title)
	refs := map[string]bool{}
	for _, target := range p.Targets {
		require.Equal(t, chosen, target.Datasource, p.Title)
		require.False(t, refs[target.RefID], "%s has two targets %s", p.Title, target.RefID)
		require.NotEmpty(t, target.LegendFormat, p.Title)
		refs[target.RefID] = true
		series.check(t, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"), p.Title)
	}
}
