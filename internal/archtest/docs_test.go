package archtest

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/config"
)

// TestEverySettingIsDocumented: docs/configuration.md has a row with the variable, the
// flag and the default of every setting.
func TestEverySettingIsDocumented(t *testing.T) {
	page := string(read(t, "../../docs/configuration.md"))
	variable := regexp.MustCompile(`\$\{(.*)\}`)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		env, isSetting := field.Tag.Lookup("env")
		if !isSetting {
			continue
		}
		value := map[reflect.Kind]string{reflect.Int64: "0", reflect.Bool: "false"}[field.Type.Kind()]
		if m := variable.FindStringSubmatch(field.Tag.Get("default")); m != nil {
			value = config.Variables()[m[1]]
		}
		if value = "`" + value + "`"; value == "``" {
			value = "none"
		}
		if row := "| `" + env + "` | `--" + field.Tag.Get("name") + "` | " + value + " | "; !strings.Contains(page, "\n"+row) {
			t.Errorf("docs/configuration.md has no row that begins with %s", row)
		}
	}
}

var (
	link         = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInAnchors = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// TestLinksOfThePagesResolve: every relative link leads to a file, and to a section of
// it when it names one.
func TestLinksOfThePagesResolve(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/architectures/*.md", "../../deploy/*.md", "../../deploy/examples/*.md", "../../deploy/examples/*/*.md", "../../deploy/helm/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(string(read(t, page)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, section, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			_, err := os.Stat(target)
			require.NoError(t, err, "%s links to %s", page, m[1])
			if section != "" {
				require.Contains(t, anchors(t, target), section, "%s links to %s", page, m[1])
			}
		}
	}
}

// anchors returns the anchors that GitHub gives to the sections of a page.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(string(read(t, page))) {
		if heading, isHeading := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); isHeading && strings.HasPrefix(line, "#") {
			name := notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return all
}
