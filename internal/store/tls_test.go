package store_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// authority signs certificates. It keeps them as NAME.crt and NAME.key in a folder, and its
// own as AUTHORITY.crt.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.cert, a.key = a.issue(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)})
	return a
}

// issue makes a certificate. Its serial is a random one.
func (a *authority) issue(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	c.NotBefore = time.Now().Add(-2 * time.Hour)
	if c.Subject.CommonName == "" {
		c.Subject = pkix.Name{CommonName: name}
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".crt", "CERTIFICATE", der, 0o644)
	a.write(name+".key", "PRIVATE KEY", private, 0o600)
	issued, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return issued, key
}

func (a *authority) write(name, kind string, der []byte, mode os.FileMode) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode))
}

// TestTLS: every sslmode, with certificates of a server that are right and wrong, and with
// client certificates. What is wrong is told with the setting and the next step.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "clerksync-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755)) // the server does not run as root
	data := filepath.Join(dir, "postgres")
	server, err := postgres.Start(t.Context(), postgres.Options{Dir: data, BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Unsafe: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, server.Stop(ctx))
	})
	admin := testkit.OpenStore(t, server.URL("postgres"))
	_, err = admin.Migrate(t.Context())
	require.NoError(t, err)
	edit(t, admin, `CREATE ROLE alice LOGIN SUPERUSER PASSWORD 'hunter2'; CREATE ROLE bob LOGIN SUPERUSER PASSWORD 'hunter2'`)

	ours, other := newAuthority(t, dir, "ours"), newAuthority(t, dir, "other")
	host := func(name string) *x509.Certificate {
		return &x509.Certificate{DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	}
	good := host("localhost")
	good.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	ours.issue("good", good)
	ours.issue("elsewhere", host("db.example.com"))
	expired := host("localhost")
	expired.NotAfter = time.Now().Add(-time.Hour)
	ours.issue("expired", expired)
	client := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	}
	ours.issue("alice", client("alice"))
	ours.issue("bob", client("bob"))
	other.issue("foreign", client("alice"))
	late := client("alice")
	late.NotAfter = time.Now().Add(-time.Hour)
	ours.issue("late", late)
	owner, err := os.Stat(data)
	require.NoError(t, err)
	for _, name := range []string{"good", "elsewhere", "expired"} {
		require.NoError(t, os.Chown(filepath.Join(dir, name+".key"), int(owner.Sys().(*syscall.Stat_t).Uid), -1))
	}
	require.NoError(t, os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(`
hostssl all alice 127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl all bob 127.0.0.1/32 scram-sha-256
host all postgres 127.0.0.1/32 scram-sha-256
`), 0o644))
	edit(t, admin, fmt.Sprintf("ALTER SYSTEM SET ssl_ca_file = '%s/ours.crt'", dir))

	// serve has the server use a certificate; "" turns TLS off.
	serve := func(name string) {
		t.Helper()
		edit(t, admin, "ALTER SYSTEM SET ssl = off")
		if name != "" {
			edit(t, admin, fmt.Sprintf("ALTER SYSTEM SET ssl_cert_file = '%s/%s.crt'", dir, name))
			edit(t, admin, fmt.Sprintf("ALTER SYSTEM SET ssl_key_file = '%s/%s.key'", dir, name))
			edit(t, admin, "ALTER SYSTEM SET ssl = on")
		}
		edit(t, admin, "SELECT pg_reload_conf()")
		testkit.Eventually(t, "a new session has it", func() (bool, any) {
			conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
			if err != nil {
				return false, err
			}
			defer conn.Close(context.Background())
			var on, cert string
			err = conn.QueryRow(t.Context(), "SELECT current_setting('ssl'), current_setting('ssl_cert_file')").Scan(&on, &cert)
			return err == nil && on == map[bool]string{true: "on", false: "off"}[name != ""] && (name == "" || filepath.Base(cert) == name+".crt"), cert
		})
	}
	ca := func(name string) string { return "sslrootcert=" + url.QueryEscape(filepath.Join(dir, name+".crt")) }
	cert := func(name string) string {
		file := url.QueryEscape(filepath.Join(dir, name))
		return "sslcert=" + file + ".crt&sslkey=" + file + ".key"
	}
	const (
		authority = "the certificate of PostgreSQL is signed by an authority that is not known here: sslrootcert=FILE in DATABASE_URL names the authority's certificate"
		elsewhere = "the certificate of PostgreSQL is for another host: name the one that it is for in DATABASE_URL, or check its authority only, with sslmode=verify-ca"
		notValid  = "the certificate of PostgreSQL, or its authority's, is not valid now: renew it, or correct the clock of this machine"
		noTLS     = "PostgreSQL has no TLS, which sslmode in DATABASE_URL asks for: turn it on (ssl = on), or say sslmode=disable where nobody can listen"
		onlyTLS   = "pg_hba.conf lets this role in from here over TLS only, or not at all: say sslmode=verify-full in DATABASE_URL, or add a line"
		notLetIn  = "pg_hba.conf does not let this role in from here: add a line; where it asks for a client certificate, sslcert=FILE and sslkey=FILE in DATABASE_URL name one for this role that its ssl_ca_file signed"
		notTheirs = "correct the user or the password in DATABASE_URL, or the client certificate in sslcert, which must be this user's"
		refused   = "PostgreSQL refuses the client certificate: the one that sslcert in DATABASE_URL names must be valid, and signed by its ssl_ca_file"
	)
	port := fmt.Sprint(server.Port())
	for _, of := range []struct {
		server string
		tests  []struct {
			user, host, options, fix string
		}
	}{
		{"good", []struct{ user, host, options, fix string }{
			{"bob", "localhost", "sslmode=verify-full&" + ca("ours"), ""},
			{"bob", "127.0.0.1", "sslmode=verify-full&" + ca("ours"), ""},
			{"bob", "127.0.0.1", "sslmode=verify-ca&" + ca("ours"), ""},
			{"bob", "127.0.0.1", "sslmode=require", ""},
			{"bob", "127.0.0.1", "", ""},
			{"bob", "127.0.0.1", "sslmode=disable", onlyTLS},
			{"bob", "127.0.0.1", "sslmode=verify-full", authority},
			{"bob", "127.0.0.1", "sslmode=verify-full&" + ca("other"), authority},
			{"bob", "127.0.0.1", "sslmode=verify-ca&" + ca("other"), authority},
			{"bob", "127.0.0.1", "sslmode=require&" + ca("other"), authority},
			{"alice", "127.0.0.1", "sslmode=verify-full&" + ca("ours") + "&" + cert("alice"), ""},
			{"alice", "127.0.0.1", "sslmode=verify-full&" + ca("ours"), notLetIn},
			{"alice", "127.0.0.1", "sslmode=verify-full&" + ca("ours") + "&" + cert("bob"), notTheirs},
			{"alice", "127.0.0.1", "sslmode=verify-full&" + ca("ours") + "&" + cert("foreign"), notLetIn},
			{"alice", "127.0.0.1", "sslmode=verify-full&" + ca("ours") + "&" + cert("late"), refused},
			{"nobody", "127.0.0.1", "sslmode=require", notLetIn},
			{"postgres", "127.0.0.1", "sslmode=require", "correct the user or the password in DATABASE_URL"},
		}},
		{"elsewhere", []struct{ user, host, options, fix string }{
			{"bob", "localhost", "sslmode=verify-full&" + ca("ours"), elsewhere},
			{"bob", "localhost", "sslmode=verify-ca&" + ca("ours"), ""},
		}},
		{"expired", []struct{ user, host, options, fix string }{
			{"bob", "localhost", "sslmode=verify-full&" + ca("ours"), notValid},
			{"bob", "localhost", "sslmode=verify-ca&" + ca("ours"), notValid},
			{"bob", "localhost", "sslmode=require", ""},
		}},
		{"", []struct{ user, host, options, fix string }{
			{"bob", "localhost", "sslmode=require", noTLS},
			{"bob", "localhost", "sslmode=verify-full&" + ca("ours"), noTLS},
			{"bob", "127.0.0.1", "sslmode=prefer", notLetIn},
		}},
	} {
		serve(of.server)
		for _, tt := range of.tests {
			name := fmt.Sprintf("%s: %s@%s %s", of.server, tt.user, tt.host, tt.options)
			s := testkit.OpenStore(t, fmt.Sprintf("postgres://%s:hunter2@%s:%s/postgres?%s", tt.user, tt.host, port, tt.options))
			err := s.Ping(t.Context())
			if tt.fix == "" {
				require.NoError(t, err, name)
				require.NoError(t, s.CheckMigrated(t.Context()))
				continue
			}
			require.Error(t, err, name)
			require.Equal(t, tt.fix, store.Fix(err), "%s: %v", name, err)
			require.NotContains(t, err.Error(), "hunter2", name)
			if tt.fix != refused { // an alert can mean much
				require.True(t, store.Permanent(err), "%s: %v", name, err)
			}
			require.Contains(t, store.Outage(err), "PostgreSQL", name)
		}
	}

	for options, want := range map[string]string{
		"sslmode=full":                        "parse DATABASE_URL: sslmode is invalid: correct sslmode, sslrootcert, sslcert or sslkey",
		"sslrootcert=/nowhere/ca.crt":         "parse DATABASE_URL: unable to read CA file: open /nowhere/ca.crt: no such file or directory: correct sslmode, sslrootcert, sslcert or sslkey",
		"sslcert=/nowhere/a.crt":              `parse DATABASE_URL: both "sslcert" and "sslkey" are required: correct sslmode, sslrootcert, sslcert or sslkey`,
		"sslcert=/nowhere/a&sslkey=/nowhere/": "parse DATABASE_URL: unable to read sslkey: open /nowhere/: no such file or directory: correct sslmode, sslrootcert, sslcert or sslkey",
	} {
		_, err := store.Open(t.Context(), store.Options{URL: "postgres://bob:hunter2@localhost/db?sslmode=verify-full&" + options, Schema: "clerk"})
		require.EqualError(t, err, want)
	}
	_, err = store.Open(t.Context(), store.Options{URL: "postgres://bob:hunter2/more@localhost/db", Schema: "clerk"})
	require.EqualError(t, err, "parse DATABASE_URL: it is not of the form postgres://user:password@host:port/database")
}
