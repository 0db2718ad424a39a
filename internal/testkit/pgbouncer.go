package testkit

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PgBouncer starts PgBouncer in transaction mode before the server of a URL, and returns the
// URL through it. It has two sessions of each database and takes turns with them, so that
// whatever relies on its own session fails. Lines are added to its configuration.
func PgBouncer(t testing.TB, direct, lines string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	server, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "clerksync-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { // it does not run as root
		t.Fatal(err)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user = nobody"
	}
	password, _ := server.User.Password()
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
%s
unix_socket_dir = %s
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_round_robin = 1
log_connections = 0
log_disconnections = 0
%s
`, server.Hostname(), server.Port(), server.User.Username(), password, user, dir, lines)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	output := new(Output)
	cmd := exec.Command(program, file)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatalf("start PgBouncer, which .ci/run installs: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	pooled := *server
	pooled.Host = ""
	pooled.RawQuery = url.Values{"host": {dir}, "port": {"6432"}}.Encode()
	Eventually(t, "PgBouncer answers", func() (bool, any) {
		conn, err := pgx.Connect(t.Context(), pooled.String())
		if err != nil {
			return false, fmt.Sprint(err, "\n", output.String())
		}
		return true, conn.Close(context.Background())
	})
	return pooled.String()
}
