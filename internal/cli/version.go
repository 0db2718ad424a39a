package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// build describes this program.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *versionCmd) Run(s *session) error {
	b := version()
	if c.JSON {
		return s.printJSON(b)
	}
	fmt.Fprintf(s.stdout, "clerksync %s", b.Version)
	if b.Revision != "" {
		fmt.Fprintf(s.stdout, " (%s)", b.Revision)
	}
	fmt.Fprintf(s.stdout, ", %s, %s\n", b.Go, b.Platform)
	return nil
}

// version reads the build information of the program.
func version() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			b.Revision = setting.Value[:min(12, len(setting.Value))]
		}
	}
	return b
}
