package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/clerksync/clerksync/internal/clerk"
)

// NATSAccess says how a NATS server knows us, how we know it, and where its JetStream is.
// The client reads the files again whenever it connects.
type NATSAccess struct {
	NATSCreds  string `name:"nats-creds" env:"CLERKSYNC_NATS_CREDS" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	NATSNKey   string `name:"nats-nkey" env:"CLERKSYNC_NATS_NKEY" type:"path" placeholder:"FILE" help:"File with the seed of an nkey for NATS, SU…, instead of credentials."`
	NATSCA     string `name:"nats-ca" env:"CLERKSYNC_NATS_CA" type:"path" placeholder:"FILE" help:"CA certificates that the certificate of the NATS server is verified with, in PEM. Without it, those of the system."`
	NATSCert   string `name:"nats-cert" env:"CLERKSYNC_NATS_CERT" type:"path" placeholder:"FILE" help:"Client certificate for NATS, in PEM."`
	NATSKey    string `name:"nats-key" env:"CLERKSYNC_NATS_KEY" type:"path" placeholder:"FILE" help:"Private key of the client certificate, in PEM."`
	NATSDomain string `name:"nats-domain" env:"CLERKSYNC_NATS_DOMAIN" placeholder:"NAME" help:"JetStream domain of the event log, when it is not that of the server of NATS_URL."`
}

// LogTags returns the tags of the servers that keep the streams.
func (l *Log) LogTags() []string { return items(l.Tags) }

// Check returns the faults of the settings, as [Faults].
func (a NATSAccess) Check() error {
	v := &validation{}
	v.access(a)
	if len(v.faults) > 0 {
		return v.faults
	}
	return nil
}

func (v *validation) access(a NATSAccess) {
	const newCreds, newCert = "make new ones: nsc generate creds", "replace it; NATS gets the new one with the next connection"
	if a.NATSCreds != "" && a.NATSNKey != "" {
		v.fault("CLERKSYNC_NATS_NKEY", "set beside CLERKSYNC_NATS_CREDS, which has a key of its own", "unset one of them")
	}
	if text := v.secretFile("CLERKSYNC_NATS_CREDS", a.NATSCreds); text != nil {
		expired, err := checkCreds(text)
		if err != nil {
			v.fault("CLERKSYNC_NATS_CREDS", err.Error(), newCreds)
		} else if expired != "" {
			v.fault("CLERKSYNC_NATS_CREDS", expired, newCreds)
		}
	}
	if text := v.secretFile("CLERKSYNC_NATS_NKEY", a.NATSNKey); text != nil {
		if pair, err := nkeys.ParseDecoratedNKey(text); err != nil || !isUser(pair) {
			v.fault("CLERKSYNC_NATS_NKEY", "not the seed of a user's nkey, SU…", "make one: nk -gen user")
		}
	}
	if text := v.file("CLERKSYNC_NATS_CA", a.NATSCA); text != nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
		v.fault("CLERKSYNC_NATS_CA", "without a certificate in PEM", "")
	}
	switch {
	case a.NATSCert == "" && a.NATSKey != "":
		v.fault("CLERKSYNC_NATS_CERT", "not set, and CLERKSYNC_NATS_KEY is", "set both, or none")
	case a.NATSCert != "" && a.NATSKey == "":
		v.fault("CLERKSYNC_NATS_KEY", "not set, and CLERKSYNC_NATS_CERT is", "set both, or none")
	default:
		cert, key := v.file("CLERKSYNC_NATS_CERT", a.NATSCert), v.secretFile("CLERKSYNC_NATS_KEY", a.NATSKey)
		if cert == nil || key == nil {
			break
		}
		leaf, err := parseCert(cert)
		if err != nil {
			v.fault("CLERKSYNC_NATS_CERT", err.Error(), "")
		} else if _, err := tls.X509KeyPair(cert, key); err != nil {
			v.fault("CLERKSYNC_NATS_KEY", "not the private key of the certificate in CLERKSYNC_NATS_CERT", "")
		} else if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
			v.fault("CLERKSYNC_NATS_CERT", fmt.Sprintf("valid from %s to %s only", stamp(leaf.NotBefore), stamp(leaf.NotAfter)), newCert)
		}
	}
	if a.NATSDomain != "" && !clerk.ValidToken(a.NATSDomain) {
		v.fault("CLERKSYNC_NATS_DOMAIN", "not a name of letters, digits, underscores and hyphens", "")
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// file reads a file that a setting names, and adds the fault when it cannot be read. It
// returns nil then, and when nothing is set.
func (v *validation) file(variable, name string) []byte {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		v.fault(variable, fmt.Sprintf("%s cannot be read: %v", name, failed.Err), "")
	}
	return text
}

// secretFile is file for one that only the user of the process and its group may read.
func (v *validation) secretFile(variable, name string) []byte {
	text := v.file(variable, name)
	if text == nil {
		return nil
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o027 != 0 {
		v.fault(variable, fmt.Sprintf("other users may use %s (mode %04o)", name, info.Mode().Perm()), "chmod 0640 "+name+", or 0600")
	}
	return text
}

// checkCreds checks a credentials file, and returns a text when it is expired.
func checkCreds(text []byte) (expired string, err error) {
	token, err := nkeys.ParseDecoratedJWT(text)
	if err != nil || !strings.Contains(token, ".") {
		return "", errors.New("not a credentials file: it has no user's JWT")
	}
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil || !isUser(pair) {
		return "", errors.New("not a credentials file: it has no seed of a user's nkey")
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", errors.New("its JWT is not one of a user: was it copied whole?")
	}
	if public, _ := pair.PublicKey(); public != claims.Subject {
		return "", errors.New("its seed is not that of the user in its JWT")
	}
	if end := time.Unix(claims.Expires, 0); claims.Expires != 0 && time.Now().After(end) {
		return "the credentials expired at " + stamp(end), nil
	}
	return "", nil
}

func isUser(pair nkeys.KeyPair) bool {
	public, err := pair.PublicKey()
	return err == nil && nkeys.IsValidPublicUserKey(public)
}

// parseCert returns the first certificate in PEM.
func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("not a certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
