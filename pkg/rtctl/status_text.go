package rtctl

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

func (s *managerStatus) print(out io.Writer, format string) error {
	content, err := json.MarshalIndent(s, "", "    ")
	if err == nil && format == "yaml" {
		content, err = yaml.JSONToYAML(content)
	}
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	_, err = fmt.Fprintln(out, strings.TrimSuffix(string(content), "\n"))
	return err
}

// tell tells people, on one screen.
func (s *managerStatus) tell(out io.Writer, palette palette, place *time.Location) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	row := func(what, told string) { fmt.Fprintf(table, "%s\t%s\n", what, oneLine(told)) }
	row("Server", s.Server+", "+s.Version)
	row("Client", s.Client)
	for i, d := range s.Dependencies {
		what := ""
		if i == 0 {
			what = "Dependencies"
		}
		state := d.State
		if d.Reason != "" {
			state = strings.ToUpper(state) + ": " + d.Reason
		}
		row(what, fmt.Sprintf("%-10s %s", d.Name, state))
	}
	if s.Leader != nil {
		row("Leader", s.Leader.tell(s.at, place))
	}
	if s.Games != nil {
		s.Games.tell(row)
	}
	for _, engine := range s.Engines {
		row("Engine", engine.tell())
	}
	for _, untold := range s.Untold {
		row("Not told", untold)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	verdict, colour := "The manager is ready.", green
	if !s.Ready {
		verdict, colour = "The manager is NOT ready.", red
	}
	_, err := fmt.Fprintln(out, palette.paint(colour, verdict))
	return err
}

func (l *leader) tell(now time.Time, place *time.Location) string {
	ago := duration.HumanDuration(max(now.Sub(l.Renewed), 0))
	switch {
	case l.Holder == "":
		return "NOBODY"
	case !l.Leads:
		return fmt.Sprintf("NOBODY: %s did, and renewed its lease %s ago", l.Holder, ago)
	}
	return fmt.Sprintf("%s, since %s, renewed %s ago", l.Holder, l.Since.In(place).Format(time.DateTime), ago)
}

func (g *gamesStatus) tell(row func(what, told string)) {
	row("Games", fmt.Sprintf("%d, %d of %d that are to run are ready, %d with drift", g.Total, g.Ready, g.Wanted, g.Drifted))
	var phases []string
	for _, phase := range slices.Sorted(maps.Keys(g.Phases)) {
		phases = append(phases, fmt.Sprintf("%s %d", phase, g.Phases[phase]))
	}
	if len(phases) > 0 {
		row("Phases", strings.Join(phases, ", "))
	}
}

func (e engineSeen) tell() string {
	told := []string{e.Name}
	if !e.Reachable {
		told = append(told, "DOES NOT ANSWER")
	}
	if e.Orphans > 0 {
		told = append(told, plural(int(e.Orphans), "container", "containers")+" without a record")
	}
	if e.Frozen != "" {
		told = append(told, "FROZEN: "+e.Frozen)
	}
	return strings.Join(told, ", ")
}
