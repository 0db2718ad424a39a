package archtest

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/clerksync/clerksync/"

// pkg is a package as go list prints it.
type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports"}, args...)...)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p pkg
		require.NoError(t, dec.Decode(&p))
		all = append(all, p)
	}
	return all
}

// TestImportsRunOneWay: which package may import which. A new package needs an entry.
func TestImportsRunOneWay(t *testing.T) {
	allowed := map[string][]string{
		"internal/background":        {},
		"internal/clerk":             {},
		"internal/disk":              {},
		"internal/embedded/nats":     {"internal/disk"},
		"internal/embedded/postgres": {},
		"internal/fakeclerk":         {},
		"internal/metrics":           {},
		"internal/signing":           {"internal/clerk"},
		"internal/token":             {"internal/clerk"},
		"internal/tracing":           {},
		"internal/units":             {},
		"internal/schema":            {},
		"internal/store/db":          {},
		"internal/store":             {"internal/clerk", "internal/store/db", "internal/units", "sql", "sql/rls"},
		"internal/eventlog":          {"internal/clerk"},
		"internal/config":            {"internal/clerk", "internal/signing", "internal/token"},
		"internal/receiver":          {"internal/clerk", "internal/eventlog", "internal/metrics", "internal/signing", "internal/tracing"},
		"internal/projector":         {"internal/clerk", "internal/eventlog", "internal/metrics", "internal/store", "internal/tracing"},
		"internal/archive":           {"internal/clerk", "internal/eventlog", "internal/signing"},
		"internal/source":            {"internal/archive", "internal/background", "internal/clerk", "internal/eventlog", "internal/store"},
		"internal/directory":         {"internal/clerk", "internal/source", "internal/store", "internal/token"},
		"internal/replay":            {"internal/clerk", "internal/eventlog", "internal/projector", "internal/store", "internal/store/db"},
		"internal/erasure":           {"internal/background", "internal/clerk", "internal/eventlog", "internal/lag", "internal/store", "internal/store/db"},
		"internal/lag":               {"internal/background", "internal/clerk", "internal/eventlog", "internal/signing", "internal/store", "internal/units"},
		"internal/probe":             {"internal/background", "internal/clerk", "internal/eventlog", "internal/lag", "internal/receiver", "internal/signing"},
		"internal/loadtest":          {"internal/clerk", "internal/eventlog", "internal/lag", "internal/probe", "internal/receiver", "internal/signing", "internal/tail", "internal/units"},
		"internal/tail":              {"internal/clerk", "internal/eventlog", "internal/receiver", "internal/store"},
		"internal/alert":             {"internal/background", "internal/lag", "internal/signing"},
		"internal/doctor":            {"internal/alert", "internal/config", "internal/eventlog", "internal/lag", "internal/probe", "internal/source", "internal/store", "internal/token", "internal/units"},
		"internal/admin":             {"internal/clerk", "internal/eventlog", "internal/lag", "internal/receiver", "internal/replay", "internal/store"},
		"internal/app": {
			"internal/admin", "internal/alert", "internal/clerk", "internal/config", "internal/directory", "internal/embedded/nats", "internal/embedded/postgres", "internal/erasure", "internal/eventlog",
			"internal/lag", "internal/metrics", "internal/probe", "internal/projector", "internal/receiver", "internal/source", "internal/store", "internal/tail", "internal/token", "internal/tracing",
		},
		"internal/cli": {
			"internal/alert", "internal/app", "internal/archive", "internal/clerk", "internal/config", "internal/doctor", "internal/erasure", "internal/eventlog", "internal/fakeclerk",
			"internal/lag", "internal/loadtest", "internal/probe", "internal/receiver", "internal/replay", "internal/schema", "internal/signing", "internal/source", "internal/store", "internal/store/db", "internal/tail", "internal/units",
		},
		"internal/testkit": {
			"internal/clerk", "internal/embedded/nats", "internal/embedded/postgres", "internal/eventlog", "internal/store", "internal/store/db",
		},
		"internal/archtest":    {},
		"internal/bench":       {},
		"internal/clustertest": {},
		"internal/deploytest":  {},
		"internal/examples":    {},
		"cmd/clerksync":        {"internal/cli"},
		"sql":                  {},
		"sql/rls":              {},
	}
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		require.Contains(t, allowed, name, "a new package needs its place in this table")
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				require.Contains(t, allowed[name], ours, "%s imports %s", name, ours)
			}
		}
	}
}

// TestEveryPackageSaysWhatItIsFor: each has a package comment.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range list(t, "./...") {
		if strings.HasSuffix(p.ImportPath, "/store/db") { // generated
			continue
		}
		require.NotEmpty(t, p.Doc, p.ImportPath)
	}
}

// TestProgramHasNoTestCode: no test code is linked into the program.
func TestProgramHasNoTestCode(t *testing.T) {
	var names []string
	for _, p := range list(t, "-deps", "./cmd/clerksync") {
		names = append(names, p.ImportPath)
	}
	for _, unwanted := range []string{
		"testing", module + "internal/testkit", "pgregory.net/rapid", "github.com/stretchr/testify/require", "go.uber.org/goleak",
	} {
		require.NotContains(t, names, unwanted)
	}
}

// TestErrorsOfPostgreSQLStayInTheStore: no other package imports pgconn.
func TestErrorsOfPostgreSQLStayInTheStore(t *testing.T) {
	for _, p := range list(t, "./...") {
		if strings.HasPrefix(p.ImportPath, module+"internal/store") {
			continue
		}
		require.NotContains(t, p.Imports, "github.com/jackc/pgx/v5/pgconn", p.ImportPath)
	}
}

// TestGoModHasNoReplace: importers of the module ignore it.
func TestGoModHasNoReplace(t *testing.T) {
	for _, file := range []string{"../../go.mod", "../tools/go.mod", "../tools/oldnats/go.mod", "../tools/manifests/go.mod", "../../deploy/examples/microservices/go/go.mod", "../../deploy/helm/test/go.mod"} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(data), "\nreplace ")
	}
}

// TestMainIsThin: under 60 lines.
func TestMainIsThin(t *testing.T) {
	data, err := os.ReadFile("../../cmd/clerksync/main.go")
	require.NoError(t, err)
	require.Less(t, strings.Count(string(data), "\n"), 60)
}

// TestNoPackageState: no init(), and environment and exit only in cli, testkit and the
// embedded PostgreSQL.
func TestNoPackageState(t *testing.T) {
	var files []string
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".go" {
			files = append(files, path)
		}
		return err
	}))
	require.NotEmpty(t, files)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		source := string(data)
		require.NotContains(t, source, "\nfunc init()", file)
		require.NotContains(t, source, "slog.SetDefault", file)
		require.NotContains(t, source, "prometheus.DefaultRegisterer", file)
		if dir := filepath.ToSlash(filepath.Dir(file)); !slices.Contains([]string{"../cli", "../testkit", "../embedded/postgres"}, dir) {
			require.NotContains(t, source, "os.Getenv(", file)
			require.NotContains(t, source, "os.Exit(", file)
		}
	}
}
