package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A key of fewer bits is too weak; Clerk's have 2048. One of more than maxBits would cost
// too much time.
const (
	minBits = 2048
	maxBits = 8192
)

var errNotPEM = errors.New("not a public key in PEM: was it copied whole? It is the key itself, not the name of a file, and is in the Clerk dashboard → API keys")

var pemLine = regexp.MustCompile(`-----[A-Z ]+-----`)

// ParseKey reads the key of a Clerk instance: the PEM of CLERK_JWT_KEY, in one of the forms
// that survive an .env file: with newlines, with \n for them, or only what is between the
// first line and the last. The error does not quote it.
func ParseKey(text string) (*rsa.PublicKey, error) {
	if strings.Contains(text, "PRIVATE KEY") {
		return nil, errors.New("a private key; only the public one is needed, and Clerk does not give out the other")
	}
	body := strings.NewReplacer(`\n`, "", `\r`, "", `"`, "").Replace(text)
	body = strings.Join(strings.Fields(pemLine.ReplaceAllString(body, "")), "")
	der, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return nil, errNotPEM
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errNotPEM
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("not an RSA key, and Clerk signs with RS256")
	}
	return key, checkKey(key)
}

func checkKey(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minBits || bits > maxBits {
		return fmt.Errorf("an RSA key of %d bits; %d to %d are taken", bits, minBits, maxBits)
	}
	return nil
}
