package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
)

// Fix returns the next step of an operator whose DATABASE_URL does not lead to a session,
// "" when none is known.
func Fix(err error) string {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	connect, _ := errors.AsType[*pgconn.ConnectError](err)
	pg, _ := errors.AsType[*pgconn.PgError](err)
	secure := connect != nil && connect.Config.TLSConfig != nil
	switch {
	case pg != nil && pg.Code == pgerrcode.InvalidAuthorizationSpecification && !secure:
		return "pg_hba.conf lets this role in from here over TLS only, or not at all: say sslmode=verify-full in DATABASE_URL, or add a line"
	case pg != nil && pg.Code == pgerrcode.InvalidAuthorizationSpecification:
		return "pg_hba.conf does not let this role in from here: add a line; where it asks for a client certificate, sslcert=FILE and sslkey=FILE in DATABASE_URL name one for this role that its ssl_ca_file signed"
	case pg != nil && pg.Code == pgerrcode.InvalidPassword && secure && len(connect.Config.TLSConfig.Certificates) > 0:
		return "correct the user or the password in DATABASE_URL, or the client certificate in sslcert, which must be this user's"
	case pg != nil && pg.Code == pgerrcode.InvalidPassword:
		return "correct the user or the password in DATABASE_URL"
	case errors.As(err, &authority):
		return "the certificate of PostgreSQL is signed by an authority that is not known here: sslrootcert=FILE in DATABASE_URL names the authority's certificate"
	case errors.As(err, &name):
		return "the certificate of PostgreSQL is for another host: name the one that it is for in DATABASE_URL, or check its authority only, with sslmode=verify-ca"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of PostgreSQL, or its authority's, is not valid now: renew it, or correct the clock of this machine"
	case errors.As(err, &verification), errors.As(err, &invalid):
		return "the certificate of PostgreSQL cannot be verified: correct it, or sslrootcert in DATABASE_URL"
	case refusesTLS(err):
		return "PostgreSQL has no TLS, which sslmode in DATABASE_URL asks for: turn it on (ssl = on), or say sslmode=disable where nobody can listen"
	case refusesCertificate(err):
		return "PostgreSQL refuses the client certificate: the one that sslcert in DATABASE_URL names must be valid, and signed by its ssl_ca_file"
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return "target_session_attrs in DATABASE_URL asks for a primary, and none of the servers is one: promote one, or name it"
	}
	return ""
}

// refusesTLS reports whether the server has no TLS. pgx has no type for it.
func refusesTLS(err error) bool {
	return strings.Contains(err.Error(), "server refused TLS connection")
}

// refusesCertificate reports whether the server answered with an alert of TLS, for which
// crypto/tls has no type.
func refusesCertificate(err error) bool {
	return strings.Contains(err.Error(), "remote error: tls: ")
}

// unverified reports whether the certificate of the server was refused here.
func unverified(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &invalid) // the latter with verify-ca
}

// parseError explains why a URL cannot be used. The parser's own error quotes the URL, and so
// the password, but for what it says of the parameters of TLS.
func parseError(err error) error {
	parse, _ := errors.AsType[*pgconn.ParseConfigError](err)
	if parse == nil || parse.Unwrap() == nil {
		return errForm
	}
	said := parse.Unwrap().Error()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) ||
		slices.ContainsFunc([]string{"sslmode is invalid", "both \"sslcert\"", "unable to add CA", "unable to load cert", "failed to decode sslkey"},
			func(begin string) bool { return strings.HasPrefix(said, begin) }) {
		return fmt.Errorf("parse DATABASE_URL: %s: correct sslmode, sslrootcert, sslcert or sslkey", said)
	}
	return errForm
}

var errForm = errors.New("parse DATABASE_URL: it is not of the form postgres://user:password@host:port/database")
