// Package manifests tests the files of deploy that describe a deployment: for Compose, with
// its own library, and for hosting platforms. It is a module of its own, so that the
// program does not depend on that library.
package manifests

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const deploy = "../../../deploy"

// TestComposeFiles: docker compose takes both files with a .env that sets only what has to
// be set, and their containers may do as little as possible.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(deploy + "/.env.example")
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, required := range regexp.MustCompile(`(?m)^([A-Z_]+)=$`).FindAllStringSubmatch(string(example), -1) {
		env = append(env, required[1]+"=0letters")
	}
	ofGo := map[string][]string{"compose.cluster.yaml": {"SSL_CERT_DIR"}}
	for _, file := range []string{"compose.yaml", "compose.cluster.yaml"} {
		o, err := cli.NewProjectOptions([]string{deploy + "/" + file}, cli.WithWorkingDirectory(deploy), cli.WithEnv(env))
		if err != nil {
			t.Fatal(err)
		}
		project, err := o.LoadProject(t.Context())
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for name, s := range project.Services {
			if !s.ReadOnly || len(s.CapAdd) != 0 || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || s.Privileged || s.MemLimit == 0 || s.PidsLimit == 0 ||
				len(s.SecurityOpt) != 1 || s.SecurityOpt[0] != "no-new-privileges:true" {
				t.Errorf("%s: the container of %s may do more than the others", file, name)
			}
			if strings.HasPrefix(s.Image, "clerksync:") {
				checkVariables(t, file+": "+name, slices.Collect(maps.Keys(s.Environment)), ofGo[file]...)
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" || port.Target != 8080 {
					t.Errorf("%s: %s publishes %d on %q", file, name, port.Target, port.HostIP)
				}
			}
			for _, v := range s.Volumes {
				if v.Type != types.VolumeTypeBind || strings.Contains(v.Source, "/deploy/certs/") { // made by nats-certs.sh
					continue
				}
				if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
					t.Errorf("%s: %s mounts %s: %v, read-only: %t", file, name, v.Source, err, v.ReadOnly)
				}
			}
		}
	}
}
