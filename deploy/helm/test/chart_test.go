package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/strvals"
)

// TestLint: no warning of helm lint, for all values.
func TestLint(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(chart + "/ci/*-values.yaml")
	require.NoError(t, err)
	for _, file := range files {
		for _, message := range lint.RunAll(chart, readValues(t, file), "apps").Messages {
			require.LessOrEqual(t, message.Severity, support.InfoSev, "%s: %s", file, message)
		}
	}
}

// TestWrongValuesAreRefused: by name, before anything reaches the cluster.
func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"recevier.replicas=3":                               "'recevier' not allowed",
		"receiver.replicas=0":                               "at '/receiver/replicas': minimum: got 0, want 1",
		"receiver.autoscaling.minReplicas=two":              "at '/receiver/autoscaling/minReplicas': got string, want integer",
		"receiver.autoscaling.maxReplicas=1":                "receiver.autoscaling.minReplicas is greater than receiver.autoscaling.maxReplicas",
		"receiver.resources.limits=null":                    "at '/receiver/resources': missing property 'limits'",
		"settings.CLERKSYNC_BACH=5":                         "at '/settings': additional properties 'CLERKSYNC_BACH' not allowed",
		"settings.CLERKSYNC_LOG_REPLICAS=2":                 "at '/settings/CLERKSYNC_LOG_REPLICAS': value must be one of",
		"settings.NATS_URL=nats://user:password@nats:4222":  "at '/settings/NATS_URL'",
		"settings.CLERKSYNC_RECONCILE_EVERY=24h":            "at '/secrets': missing property 'CLERK_SECRET_KEY'",
		"settings.DATABASE_URL=postgres://u:p@host/d":       "at '/settings': additional properties 'DATABASE_URL' not allowed",
		"secrets.DATABASE_URL=postgres://u:p@host/d":        "at '/secrets/DATABASE_URL': got string, want object",
		"secrets.DATABASE_URL.value=postgres://u:p@host/d":  "at '/secrets/DATABASE_URL': additional properties 'value' not allowed",
		"secrets.NATS_URL.existingSecret=nats":              "NATS_URL is in settings and in secrets: remove it from one of them",
		"secrets.CLERKSYNC_ALERT_URL.existingSecret=alerts": "at '/secrets': additional properties 'CLERKSYNC_ALERT_URL' not allowed",
		"worker.keda.enabled=true":                          "at '/worker/keda/monitoringEndpoint'",
		"worker.keda.monitoringEndpoint=http://nats:8222":   "at '/worker/keda/monitoringEndpoint'",
		"worker.keda.minReplicas=0":                         "at '/worker/keda/minReplicas': minimum: got 0, want 1",
		"api.enabled=true":                                  "at '/settings': missing property 'CLERK_FRONTEND_API_URL'",
		"migration.databaseURL.existingSecret=":             "at '/migration/databaseURL/existingSecret'",
		"image.repository=":                                 "at '/image/repository'",
		"ingress.enabled=true":                              "at '/ingress/host'",
		"serviceMonitor.job=users":                          "at '/serviceMonitor/job'",
		"networkPolicy.egress.smtp.ports[0]=25":             "at '/networkPolicy/egress': additional properties 'smtp' not allowed",
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			values := readValues(t, chart+"/ci/minimal-values.yaml")
			require.NoError(t, strvals.ParseInto(set, values))
			_, err := render(t, values)
			require.ErrorContains(t, err, want)
		})
	}
}

// TestMissingValuesAreNamed: all that an installation needs, at once.
func TestMissingValuesAreNamed(t *testing.T) {
	t.Parallel()
	_, err := render(t, nil)
	for _, name := range []string{"/image/repository", "NATS_URL", "CLERK_WEBHOOK_SIGNING_SECRET", "DATABASE_URL", "CLERKSYNC_ADMIN_TOKEN", "/migration/databaseURL/existingSecret"} {
		require.ErrorContains(t, err, name)
	}
}

// TestEverySettingHasItsPlace: each variable of serve is in settings or in secrets of the
// schema, or is the chart's own.
func TestEverySettingHasItsPlace(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties struct {
			Settings, Secrets struct{ Properties map[string]any }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(readFile(t, chart+"/values.schema.json")), &schema))
	places := slices.Concat(
		slices.Collect(maps.Keys(schema.Properties.Settings.Properties)),
		slices.Collect(maps.Keys(schema.Properties.Secrets.Properties)),
		[]string{"CLERKSYNC_ROLE", "CLERKSYNC_ADDR", "CLERKSYNC_ADMIN_ADDR"}, // what makes a Deployment of it
		[]string{"CLERKSYNC_MIGRATE"},                                        // the Job does
		[]string{"CLERKSYNC_DATA_DIR"},                                       // the image's, and unused with NATS_URL
		[]string{"CLERKSYNC_ALERT_URL", "CLERKSYNC_ALERT_SECRET"},            // for one process, and here are several
		// Files that the chart does not mount: NATS_CREDS names the user, and trustedCA has authorities.
		[]string{"CLERKSYNC_NATS_NKEY", "CLERKSYNC_NATS_CA", "CLERKSYNC_NATS_CERT", "CLERKSYNC_NATS_KEY"},
	)
	for _, name := range variables(t, "serve") {
		require.Contains(t, places, name)
	}
	names := places[:len(schema.Properties.Settings.Properties)+len(schema.Properties.Secrets.Properties)]
	for _, name := range names {
		require.Contains(t, variables(t, "serve"), name)
	}
}

// variables returns the variables that a command takes.
func variables(t *testing.T, command ...string) []string {
	t.Helper()
	help, err := exec.Command(program, append(command, "--help")...).Output()
	require.NoError(t, err)
	var names []string
	for _, m := range regexp.MustCompile(`\(\$([A-Z_]+)\)`).FindAllSubmatch(help, -1) {
		names = append(names, string(m[1]))
	}
	require.NotEmpty(t, names)
	return names
}

// TestEveryValueIsExplained: README.md has a row with each value and its default.
func TestEveryValueIsExplained(t *testing.T) {
	t.Parallel()
	page := readFile(t, chart+"/README.md")
	var explain func(path string, value any)
	explain = func(path string, value any) {
		section, isMap := value.(map[string]any)
		if isMap && len(section) > 0 && !strings.HasSuffix(path, ".resources") && !strings.HasPrefix(path, "networkPolicy.egress.") {
			for key, inner := range section {
				explain(strings.TrimPrefix(path+"."+key, "."), inner)
			}
			return
		}
		shown, isText := value.(string)
		if !isText {
			data, err := json.Marshal(value)
			require.NoError(t, err)
			shown = string(data)
		}
		if shown != "" {
			shown = "`" + shown + "` "
		}
		row := fmt.Sprintf("\n| `%s` | %s| ", path, shown)
		if !strings.Contains(page, row) {
			t.Errorf("README.md has no row that begins with %s", row)
		}
	}
	explain("", readValues(t, chart+"/values.yaml"))
}

// TestRulesAreThoseOfPrometheus: the chart needs a copy, since a chart has no files outside
// its folder.
func TestRulesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	const original, copied = "deploy/prometheus/clerksync.rules.yaml", "deploy/helm/clerksync/files/clerksync.rules.yaml"
	require.Equal(t, readFile(t, root+"/"+original), readFile(t, root+"/"+copied), "run: cp %s %s", original, copied)
	rules := mustRender(t, chart+"/ci/everything-values.yaml").rules
	require.Len(t, rules, 1)
	groups := regexp.MustCompile(`(?m)^  - name: `).FindAllString(readFile(t, root+"/"+original), -1)
	require.Len(t, rules[0].Spec.Groups, len(groups))
	require.Contains(t, rules[0].Spec.Groups[1].Rules[0].Annotations["description"], "{{ or $labels.job", "Prometheus' templates stay")
}

// TestNotes: they name objects that exist.
func TestNotes(t *testing.T) {
	t.Parallel()
	eachRelease(t, func(t *testing.T, r *release) {
		var names []string
		for _, d := range r.deployments {
			names = append(names, d.Name)
		}
		for _, m := range regexp.MustCompile(`deploy/(\S+)`).FindAllStringSubmatch(r.notes, -1) {
			if !strings.HasSuffix(m[1], ".sql") {
				require.Contains(t, names, m[1])
			}
		}
		require.NotContains(t, r.notes, "<no value>")
		require.Contains(t, r.notes, "/api/webhooks/clerk")
	})
}

// TestPageIsRight: the values in docs/kubernetes.md are those of the chart.
func TestPageIsRight(t *testing.T) {
	t.Parallel()
	var values map[string]any
	blocks := regexp.MustCompile("(?s)\n( *)```yaml\n(.*?)\n *```").FindAllStringSubmatch(readFile(t, root+"/docs/kubernetes.md"), -1)
	for _, block := range blocks {
		text := strings.ReplaceAll("\n"+block[2], "\n"+block[1], "\n")
		if strings.HasPrefix(text, "\nconfig:") { // of NATS' chart
			continue
		}
		read, err := common.ReadValues([]byte(text))
		require.NoError(t, err)
		values = loader.MergeMaps(values, read)
	}
	require.Contains(t, values, "image")
	require.Contains(t, values, "worker")
	_, err := render(t, values)
	require.NoError(t, err)
}
