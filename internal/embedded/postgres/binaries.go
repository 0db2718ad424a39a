//go:build linux || darwin

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// oldestMajor is the oldest PostgreSQL that clerksync is tested with. Version 15 is also the first
// to report the progress of a recovery, which awaitReady needs.
const oldestMajor = 15

// binaries is a folder with initdb and postgres, and their major version.
type binaries struct {
	dir   string
	major int
}

// findBinaries returns the programs for a cluster of major version want, or for a new cluster when want is 0.
func findBinaries(ctx context.Context, o Options, want int) (binaries, error) {
	var found []binaries
	if o.BinDir != "" {
		folder, err := programFolder(o.BinDir)
		if err != nil {
			return binaries{}, fmt.Errorf("CLERKSYNC_PG_BIN: %w", err)
		}
		major, err := askVersion(ctx, folder)
		if err != nil {
			return binaries{}, fmt.Errorf("CLERKSYNC_PG_BIN: %w", err)
		}
		found = []binaries{{folder, major}}
	} else {
		found = search(ctx)
	}
	if len(found) == 0 && o.Install && canInstall() {
		if err := installWithApt(ctx, o.Log); err != nil {
			return binaries{}, err
		}
		found = search(ctx)
	}
	if len(found) == 0 {
		if err := ctx.Err(); err != nil { // the programs were not asked for their versions
			return binaries{}, err
		}
		return binaries{}, fmt.Errorf("no PostgreSQL on this machine: %s, or set CLERKSYNC_PG_BIN to the folder with initdb and postgres, or DATABASE_URL to a server", installHint())
	}
	return choose(found, want)
}

// choose returns the programs for a cluster of version want: of exactly that version, since another one cannot read
// its files. For a new cluster (0) it is the newest. Among equals the first wins.
func choose(found []binaries, want int) (binaries, error) {
	var best binaries
	var seen []string
	for _, b := range found {
		seen = append(seen, fmt.Sprintf("%d in %s", b.major, b.dir))
		if b.major < oldestMajor || (want != 0 && b.major != want) {
			continue
		}
		if b.major > best.major {
			best = b
		}
	}
	switch {
	case best.major != 0:
		return best, nil
	case want != 0 && want < oldestMajor:
		return binaries{}, fmt.Errorf("the cluster was made by PostgreSQL %d, and clerksync needs %d or newer: upgrade it with pg_upgrade, or name another CLERKSYNC_DATA_DIR", want, oldestMajor)
	case want != 0:
		return binaries{}, fmt.Errorf("the cluster was made by PostgreSQL %d and needs the programs of that version; found: %s: set CLERKSYNC_PG_BIN to the folder with initdb and postgres of version %d, or name another CLERKSYNC_DATA_DIR", want, strings.Join(seen, ", "), want)
	default:
		return binaries{}, fmt.Errorf("clerksync needs PostgreSQL %d or newer; found: %s: install a newer one and set CLERKSYNC_PG_BIN to the folder with its initdb and postgres", oldestMajor, strings.Join(seen, ", "))
	}
}

// search returns the usable installations of this machine, each once, in the order of preference.
func search(ctx context.Context) []binaries {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
		"/usr/local/pgsql/bin",               // built from source
		"/usr/pgsql-*/bin",                   // postgresql.org's packages for Red Hat
		"/usr/libexec/postgresql*",           // Alpine
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, _ := filepath.Glob(pattern) // its only error is a malformed pattern
		dirs = append(dirs, matches...)
	}
	var found []binaries
	seen := map[string]bool{"": true}
	for _, dir := range dirs {
		folder, _ := programFolder(dir) // "" without the programs, as for nearly all of PATH
		if seen[folder] {
			continue
		}
		seen[folder] = true
		if major, err := askVersion(ctx, folder); err == nil {
			found = append(found, binaries{folder, major})
		}
	}
	return found
}

// programFolder resolves dir to the real folder of initdb and postgres. There PostgreSQL finds its other files, and
// the server's user must be able to enter it.
func programFolder(dir string) (string, error) {
	postgres, err := filepath.Abs(filepath.Join(dir, "postgres"))
	if err == nil {
		postgres, err = filepath.EvalSymlinks(postgres)
	}
	folder := filepath.Dir(postgres)
	for _, program := range []string{"postgres", "initdb"} {
		if err == nil {
			_, err = exec.LookPath(filepath.Join(folder, program))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s does not hold the programs initdb and postgres: %w", dir, err)
	}
	return folder, nil
}

// versionLine matches the output of `postgres --version`: "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)".
var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

// askVersion returns the major version of the postgres in folder.
func askVersion(ctx context.Context, folder string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(folder, "postgres"), "--version")
	cmd.WaitDelay = time.Second // a script may leave a child that holds the output open
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w%s", cmd, errors.Join(err, ctx.Err()), lastLines(string(out)))
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("%s does not answer like PostgreSQL%s", cmd, lastLines(string(out)))
	}
	return strconv.Atoi(string(match[1]))
}
