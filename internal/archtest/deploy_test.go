package archtest

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/clerksync/clerksync/internal/config"
)

const (
	rulesFile = "../../deploy/prometheus/clerksync.rules.yaml"
	dashboard = "../../deploy/grafana/clerksync.json"
	lagPage   = "../../docs/lag.md"
	runbook   = "https://github.com/clerksync/clerksync/blob/main/deploy/RUNBOOK.md"
)

// rule is a rule of Prometheus: it has either a name to record under or an alert's name.
type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (recorded, alerts []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	readYAML(t, rulesFile, &file)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				recorded = append(recorded, r)
			} else {
				alerts = append(alerts, r)
			}
		}
	}
	require.NotEmpty(t, alerts)
	return recorded, alerts
}

// panel is a panel of Grafana's dashboard: a row, or one with queries.
type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Panels      []any  `json:"panels"`
	Targets     []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	var board struct {
		Panels []panel `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(read(t, dashboard), &board))
	require.NotEmpty(t, board.Panels)
	return board.Panels
}

// series is a row of the table of metrics: the labels of a series, and the text that
// names their values.
type series struct {
	labels string
	row    string
}

var (
	seriesInTable = regexp.MustCompile("`(clerksync_[a-z_]+)(?:\\{([a-z_,]*)\\})?`")
	quoted        = regexp.MustCompile(`"[^"]*"`)
	anyName       = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	selector      = regexp.MustCompile(`(clerksync_[a-z_]+)\{([^}]*)\}`)
	matcher       = regexp.MustCompile(`([a-z_]+) *(?:=~|!~|!=|=) *"([^"]*)"`)
	partOf        = regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
)

// documented returns the series of the table in docs/lag.md.
func documented(t *testing.T) map[string]series {
	t.Helper()
	_, table, found := strings.Cut(string(read(t, lagPage)), "\n## Metrics\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	all := map[string]series{}
	for line := range strings.Lines(table) {
		names, row, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, m := range seriesInTable.FindAllStringSubmatch(names, -1) {
			all[m[1]] = series{labels: m[2], row: row}
		}
	}
	require.NotEmpty(t, all)
	return all
}

// TestMonitoringUsesSeriesThatExist: every series that the rules and the dashboard query
// is documented, with its labels and their values.
func TestMonitoringUsesSeriesThatExist(t *testing.T) {
	known := documented(t)
	recorded, alerts := rules(t)
	made := map[string]bool{}
	queries := map[string][]string{}
	for _, r := range recorded {
		made[r.Record] = true
		queries[r.Record] = append(queries[r.Record], r.Expr)
	}
	for _, r := range alerts {
		queries[r.Alert] = append(queries[r.Alert], r.Expr)
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], target.Expr)
		}
	}
	lookup := func(name string) (series, bool) {
		if s, ok := known[name]; ok {
			return s, true
		}
		s, ok := known[partOf.ReplaceAllString(name, "")]
		return s, ok
	}
	for where, exprs := range queries {
		for _, expr := range exprs {
			for _, name := range anyName.FindAllString(quoted.ReplaceAllString(expr, ""), -1) {
				if !strings.Contains(name, "clerksync_") || made[name] {
					continue
				}
				if _, ok := lookup(name); !ok {
					t.Errorf("%s: %s is not in the table of docs/lag.md", where, name)
				}
			}
			for _, sel := range selector.FindAllStringSubmatch(expr, -1) {
				s, _ := lookup(sel[1])
				for _, m := range matcher.FindAllStringSubmatch(sel[2], -1) {
					if label := m[1]; label != "job" {
						if !strings.Contains(","+s.labels+",", ","+label+",") {
							t.Errorf("%s: %s has no label %s in docs/lag.md", where, sel[1], label)
						}
						for value := range strings.SplitSeq(m[2], "|") {
							if !strings.Contains(s.row, "`"+value+"`") {
								t.Errorf("%s: %s{%s=%q} is not in docs/lag.md", where, sel[1], label, value)
							}
						}
					}
				}
			}
		}
	}
}

// TestEveryAlertIsExplained: every alert has a summary, a description and a link to its
// section of the runbook, and the runbook has no other sections.
func TestEveryAlertIsExplained(t *testing.T) {
	_, alerts := rules(t)
	var names []string
	for _, a := range alerts {
		names = append(names, a.Alert)
		require.Contains(t, []string{"critical", "warning"}, a.Labels["severity"], a.Alert)
		require.NotEmpty(t, a.Annotations["summary"], a.Alert)
		require.NotEmpty(t, a.Annotations["description"], a.Alert)
		require.Equal(t, runbook+"#"+strings.ToLower(a.Alert), a.Annotations["runbook_url"])
	}
	var sections []string
	for line := range strings.Lines(string(read(t, "../../deploy/RUNBOOK.md"))) {
		if section, ok := strings.CutPrefix(line, "## "); ok {
			sections = append(sections, strings.TrimSpace(section))
		}
	}
	require.Equal(t, names, sections, "in the order of the rules")
}

// TestEveryAlertIsTested: promtool's tests have a case in which each alert fires and one
// in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	var file struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string `yaml:"alertname"`
				ExpAlerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	readYAML(t, "../../deploy/prometheus/clerksync.rules.test.yaml", &file)
	fires, quiet := map[string]bool{}, map[string]int{}
	for _, test := range file.Tests {
		for _, a := range test.AlertRuleTest {
			if len(a.ExpAlerts) > 0 {
				fires[a.Alertname] = true
			} else {
				quiet[a.Alertname]++
			}
		}
	}
	_, alerts := rules(t)
	for _, a := range alerts {
		require.True(t, fires[a.Alert], "%s never fires", a.Alert)
		require.Positive(t, quiet[a.Alert], "%s is never quiet", a.Alert)
	}
}

// TestDashboardIsWhole: Grafana can import the dashboard with any data source.
func TestDashboardIsWhole(t *testing.T) {
	ids := map[int]string{}
	for _, p := range panels(t) {
		require.NotEmpty(t, p.Title)
		require.NotContains(t, ids, p.ID, p.Title)
		ids[p.ID] = p.Title
		if p.Type == "row" {
			require.Empty(t, p.Panels, "these tests do not see the panels of a collapsed row")
			continue
		}
		require.NotEmpty(t, p.Description, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			require.NotEmpty(t, target.Expr, p.Title)
			require.Contains(t, target.Expr, `{job="$job"`, p.Title)
		}
	}
	for _, uid := range regexp.MustCompile(`"uid": *"([^"]*)"`).FindAllStringSubmatch(string(read(t, dashboard)), -1) {
		require.Contains(t, []string{"${datasource}", "clerksync"}, uid[1])
	}
}

// TestComposePassesEverySetting: what .env sets reaches clerksync. The exceptions are
// fixed by the containers: their ports, their volumes, and NATS servers with a password.
func TestComposePassesEverySetting(t *testing.T) {
	for name, fixed := range map[string][]string{
		"compose.yaml":         {"CLERKSYNC_ADDR", "CLERKSYNC_DATA_DIR", "CLERKSYNC_SCHEMA", "CLERKSYNC_LOG_REPLICAS"},
		"compose.cluster.yaml": {"CLERKSYNC_ADDR", "CLERKSYNC_DATA_DIR", "CLERKSYNC_SCHEMA"},
	} {
		var file struct {
			Services map[string]struct {
				Environment map[string]any `yaml:"environment"`
			} `yaml:"services"`
		}
		readYAML(t, "../../deploy/"+name, &file)
		passed := map[string]any{}
		for _, s := range file.Services {
			maps.Copy(passed, s.Environment)
		}
		for _, field := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
			env, isSetting := field.Tag.Lookup("env")
			ofNATS := slices.ContainsFunc([]string{"CLERKSYNC_NATS_", "CLERKSYNC_LOG_CLUSTER", "CLERKSYNC_LOG_TAGS", "CLERKSYNC_LOG_COMPRESSION"}, func(prefix string) bool { return strings.HasPrefix(env, prefix) })
			if _, ok := passed[env]; isSetting && !ok && !ofNATS && !slices.Contains(fixed, env) {
				t.Errorf("deploy/%s does not pass %s", name, env)
			}
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return data
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal(read(t, file), into))
}
