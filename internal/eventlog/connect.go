package eventlog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/nats-io/nats.go"
)

// Access says how a NATS server is reached, and how it knows us. The files are read again
// with every connection.
type Access struct {
	URL         string // of one server or several, separated by commas
	Creds, NKey string // files: credentials, or the seed of an nkey
	CA          string // file: what the server's certificate is verified with
	Cert, Key   string // files: the client certificate
}

// Connect connects to a NATS server. The error is a [*Refusal] unless the server is away.
// refused, which may be nil, is called when the server has cut a connection for good,
// since it no longer knows the user.
func Connect(a Access, refused func(error), options ...nats.Option) (*nats.Conn, error) {
	if a.Creds != "" {
		options = append(options, nats.UserCredentials(a.Creds))
	}
	if a.NKey != "" {
		nkey, err := nats.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			return nil, a.explain(err)
		}
		options = append(options, nkey)
	}
	if a.CA != "" {
		options = append(options, nats.RootCAs(a.CA))
	}
	if a.Cert != "" {
		options = append(options, nats.ClientCert(a.Cert, a.Key))
	}
	if refused != nil {
		options = append(options, nats.ClosedHandler(func(nc *nats.Conn) {
			if err := nc.LastError(); refusesUser(err) { // for the second time
				refused(a.explain(err))
			}
		}))
	}
	nc, err := nats.Connect(a.URL, options...)
	if err != nil {
		return nil, a.explain(err)
	}
	return nc, nil
}

func refusesUser(err error) bool {
	for _, refusal := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// explain adds the fix to the error of a connection.
func (a Access) explain(err error) error {
	fix := a.fix(err)
	err = fmt.Errorf("connect to NATS: %w", err)
	if fix == "" {
		return err
	}
	return &Refusal{err, fix}
}

func (a Access) fix(err error) string {
	if refusesUser(err) {
		switch {
		case a.Creds != "":
			return "NATS refuses the credentials of CLERKSYNC_NATS_CREDS: are they of this server's operator, and neither expired nor revoked?"
		case a.NKey != "":
			return "NATS does not know the nkey of CLERKSYNC_NATS_NKEY: add its public key to the server's users"
		case a.Cert != "":
			return "NATS refuses the user or the password of NATS_URL, or has no user for the certificate of CLERKSYNC_NATS_CERT"
		}
		return "NATS refuses the user or the password of NATS_URL: correct them, or set CLERKSYNC_NATS_CREDS or CLERKSYNC_NATS_NKEY"
	}
	if errors.Is(err, nats.ErrSecureConnWanted) {
		return "the server has no TLS, which tls:// in NATS_URL, CLERKSYNC_NATS_CA and CLERKSYNC_NATS_CERT ask for"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if a.CA == "" {
			return "set CLERKSYNC_NATS_CA to the file with the CA certificate of the server"
		}
		return "CLERKSYNC_NATS_CA names another CA than that of the server's certificate"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the certificate of the NATS server, or correct the clock of this machine"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "name the server in NATS_URL as its certificate does"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "correct the certificate of the NATS server, or CLERKSYNC_NATS_CA"
	}
	// The server's alert, or the connection that it closed after the handshake.
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" || errors.Is(err, nats.ErrTLS) {
		if a.Cert == "" {
			return "the server asks for a client certificate: set CLERKSYNC_NATS_CERT and CLERKSYNC_NATS_KEY"
		}
		return "the server refuses the certificate of CLERKSYNC_NATS_CERT: is it signed by the server's CA, and not expired?"
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // it was there when the settings were checked
		return "correct the file, or the CLERKSYNC_NATS_… setting that names it"
	}
	return ""
}
