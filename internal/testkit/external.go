package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// ExternalNATS starts a NATS server of somebody else for one test, with JetStream unless
// change turns it off, and a domain or cluster of its own if change names one.
func ExternalNATS(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(Patience) {
		t.Fatal("the NATS server did not start")
	}
	return s
}

// Authority is a CA of one test.
type Authority struct {
	File string // its certificate

	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// NewAuthority returns a new CA.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of a test"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := a.sign(template)
	a.cert, a.key = a.parse(der), key
	a.pool.AddCert(a.cert)
	a.File = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// Issue writes a certificate, for a server on 127.0.0.1 and for a client, that ends after a
// time, and its private key.
func (a *Authority) Issue(left time.Duration) (certFile, keyFile string) {
	a.t.Helper()
	der, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "clerksync"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(left),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	a.check(err)
	return a.write("cert.pem", "CERTIFICATE", der), a.write("key.pem", "PRIVATE KEY", secret)
}

// Server returns the TLS of a server whose certificate ends after a time. With verify, it
// takes only clients with a certificate of this CA.
func (a *Authority) Server(left time.Duration, verify bool) *tls.Config {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Issue(left))
	a.check(err)
	c := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: a.pool}
	if verify {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c
}

func (a *Authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.check(err)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	a.check(err)
	return der, key
}

func (a *Authority) parse(der []byte) *x509.Certificate {
	cert, err := x509.ParseCertificate(der)
	a.check(err)
	return cert
}

func (a *Authority) write(name, kind string, der []byte) string {
	return WriteSecret(a.t, name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *Authority) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// WriteSecret writes a file that only its owner may read.
func WriteSecret(t testing.TB, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Operator is an operator of NATS with one account, which has JetStream.
type Operator struct {
	t        testing.TB
	key      nkeys.KeyPair // of the account
	trusted  *jwt.OperatorClaims
	resolver server.MemAccResolver
	system   string // public key of the system account
}

// NewOperator returns a new operator.
func NewOperator(t testing.TB) *Operator {
	t.Helper()
	o := &Operator{t: t}
	key, err := nkeys.CreateOperator()
	o.check(err)
	public, err := key.PublicKey()
	o.check(err)
	o.trusted = jwt.NewOperatorClaims(public)
	_, err = o.trusted.Encode(key) // completes it
	o.check(err)
	o.key, _ = o.account(key, jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1})
	_, o.system = o.account(key, jwt.JetStreamLimits{}) // JetStream needs it
	return o
}

func (o *Operator) account(signer nkeys.KeyPair, limits jwt.JetStreamLimits) (nkeys.KeyPair, string) {
	key, err := nkeys.CreateAccount()
	o.check(err)
	public, err := key.PublicKey()
	o.check(err)
	claims := jwt.NewAccountClaims(public)
	claims.Limits.JetStreamLimits = limits
	token, err := claims.Encode(signer)
	o.check(err)
	o.check(o.resolver.Store(public, token))
	return key, public
}

// Apply makes a server one of the operator.
func (o *Operator) Apply(options *server.Options) {
	options.TrustedOperators, options.AccountResolver, options.SystemAccount = []*jwt.OperatorClaims{o.trusted}, &o.resolver, o.system
}

// Creds writes the credentials of a new user, which end after a time.
func (o *Operator) Creds(left time.Duration) string {
	o.t.Helper()
	key, err := nkeys.CreateUser()
	o.check(err)
	public, err := key.PublicKey()
	o.check(err)
	user := jwt.NewUserClaims(public)
	user.Expires = time.Now().Add(left).Unix()
	token, err := user.Encode(o.key)
	o.check(err)
	seed, err := key.Seed()
	o.check(err)
	text, err := jwt.FormatUserConfig(token, seed)
	o.check(err)
	return WriteSecret(o.t, "user.creds", text)
}

func (o *Operator) check(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// NKey writes the seed of a new user's nkey, and returns its public key.
func NKey(t testing.TB) (public, file string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return public, WriteSecret(t, "user.nk", seed)
}
