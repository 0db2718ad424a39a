package manifests

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"
)

// The files of the platforms, with the fields of their references that are used. The
// decoders refuse any other.
type (
	flyFile struct {
		App           string            `toml:"app"`
		PrimaryRegion string            `toml:"primary_region"`
		KillSignal    string            `toml:"kill_signal"`
		KillTimeout   int               `toml:"kill_timeout"` // at most 300
		Env           map[string]string `toml:"env"`
		Mounts        struct {
			Source      string `toml:"source"`
			Destination string `toml:"destination"`
			InitialSize string `toml:"initial_size"`
		} `toml:"mounts"`
		HTTPService struct {
			InternalPort       int    `toml:"internal_port"`
			ForceHTTPS         bool   `toml:"force_https"`
			AutoStopMachines   string `toml:"auto_stop_machines"`
			AutoStartMachines  bool   `toml:"auto_start_machines"`
			MinMachinesRunning int    `toml:"min_machines_running"`
		} `toml:"http_service"`
		Checks map[string]struct {
			Type        string `toml:"type"`
			Port        int    `toml:"port"`
			Path        string `toml:"path"`
			Interval    string `toml:"interval"`
			Timeout     string `toml:"timeout"`
			GracePeriod string `toml:"grace_period"`
		} `toml:"checks"`
		VM []struct {
			Size   string `toml:"size"`
			Memory string `toml:"memory"`
		} `toml:"vm"`
	}

	railwayFile struct {
		Schema string `json:"$schema"`
		Build  struct {
			Builder        string `json:"builder"`
			DockerfilePath string `json:"dockerfilePath"`
		} `json:"build"`
		Deploy struct {
			HealthcheckPath    string `json:"healthcheckPath"`
			HealthcheckTimeout int    `json:"healthcheckTimeout"`
			DrainingSeconds    int    `json:"drainingSeconds"`
			OverlapSeconds     int    `json:"overlapSeconds"`
			RestartPolicyType  string `json:"restartPolicyType"`
		} `json:"deploy"`
	}

	renderFile struct {
		Services []struct {
			Type           string `yaml:"type"`
			Name           string `yaml:"name"`
			Runtime        string `yaml:"runtime"`
			Plan           string `yaml:"plan"`
			Region         string `yaml:"region"`
			DockerfilePath string `yaml:"dockerfilePath"`
			DockerContext  string `yaml:"dockerContext"`
			NumInstances   int    `yaml:"numInstances"`
			Disk           struct {
				Name      string `yaml:"name"`
				MountPath string `yaml:"mountPath"`
				SizeGB    int    `yaml:"sizeGB"`
			} `yaml:"disk"`
			EnvVars []struct {
				Key          string `yaml:"key"`
				Value        string `yaml:"value"`
				Sync         *bool  `yaml:"sync"`
				FromDatabase *struct {
					Name     string `yaml:"name"`
					Property string `yaml:"property"`
				} `yaml:"fromDatabase"`
			} `yaml:"envVars"`
		} `yaml:"services"`
		Databases []struct {
			Name                 string   `yaml:"name"`
			Plan                 string   `yaml:"plan"`
			Region               string   `yaml:"region"`
			PostgresMajorVersion string   `yaml:"postgresMajorVersion"`
			IPAllowList          []string `yaml:"ipAllowList"`
		} `yaml:"databases"`
	}
)

// documented reports the variables that docs/configuration.md has.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(read(t, "../../../docs/configuration.md"), -1) {
		known[row[1]] = true
	}
	if !known["DATABASE_URL"] || !known["CLERKSYNC_MIGRATE"] {
		t.Fatalf("the tables of docs/configuration.md: %v", known)
	}
	return known
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// checkVariables checks that clerksync knows the variables, but for those of the platform.
func checkVariables(t *testing.T, file string, variables []string, ofPlatform ...string) {
	t.Helper()
	known := documented(t)
	for _, name := range variables {
		if !known[name] && !slices.Contains(ofPlatform, name) {
			t.Errorf("%s: %s is no setting", file, name)
		}
	}
	for _, name := range ofPlatform {
		if !slices.Contains(variables, name) {
			t.Errorf("%s: %s is not set", file, name)
		}
	}
}

func TestFly(t *testing.T) {
	t.Parallel()
	const file = deploy + "/fly/fly.toml"
	var f flyFile
	meta, err := toml.Decode(read(t, file), &f)
	if err != nil {
		t.Fatal(err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		t.Errorf("%s: %v", file, unknown)
	}
	var variables []string
	for name := range f.Env {
		variables = append(variables, name)
	}
	checkVariables(t, file, variables)
	ready := f.Checks["ready"]
	if f.Mounts.Destination != "/data" || f.HTTPService.InternalPort != 8080 || f.HTTPService.AutoStopMachines != "off" || f.KillTimeout != 120 ||
		ready.Path != "/readyz" || f.Env["CLERKSYNC_ADMIN_ADDR"] != ":8081" || ready.Port != 8081 {
		t.Errorf("%s: %+v", file, f)
	}
}

func TestRailway(t *testing.T) {
	t.Parallel()
	const file = deploy + "/railway/railway.json"
	var f railwayFile
	decoder := json.NewDecoder(strings.NewReader(read(t, file)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("../../../" + f.Build.DockerfilePath); err != nil {
		t.Error(err)
	}
	if f.Deploy.HealthcheckPath != "/readyz" || f.Deploy.DrainingSeconds != 120 {
		t.Errorf("%s: %+v", file, f)
	}
	const variablesFile = deploy + "/railway/variables.txt"
	values := map[string]string{}
	var variables []string
	for line := range strings.Lines(read(t, variablesFile)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			variables, values[name] = append(variables, name), value
		}
	}
	checkVariables(t, variablesFile, variables, "PORT", "RAILWAY_RUN_UID")
	if values["CLERKSYNC_ADMIN_ADDR"] != ":"+values["PORT"] { // which the check asks
		t.Errorf("%s: %v", variablesFile, values)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	const file = deploy + "/render/render.yaml"
	var f renderFile
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, file))))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	s := f.Services[0]
	if _, err := os.Stat("../../../" + s.DockerfilePath); err != nil {
		t.Error(err)
	}
	values := map[string]string{}
	var variables []string
	for _, v := range s.EnvVars {
		variables, values[v.Key] = append(variables, v.Key), v.Value
		if v.FromDatabase != nil && v.FromDatabase.Name != f.Databases[0].Name {
			t.Errorf("%s: there is no database %s", file, v.FromDatabase.Name)
		}
	}
	checkVariables(t, file, variables, "PORT", "RUN_AS")
	if len(f.Services) != 1 || s.NumInstances != 1 || values["PORT"] != "8080" || !strings.HasPrefix(values["CLERKSYNC_DATA_DIR"], s.Disk.MountPath+"/") {
		t.Errorf("%s: %+v", file, f)
	}
	if !strings.Contains(read(t, deploy+"/Dockerfile"), "\nARG RUN_AS=") {
		t.Error("the Dockerfile has no RUN_AS")
	}
}
