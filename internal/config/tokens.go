package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/clerksync/clerksync/internal/token"
)

// Tokens configures which of Clerk's session tokens the directory API takes.
type Tokens struct {
	JWTKey            string   `name:"jwt-key" env:"CLERK_JWT_KEY" placeholder:"PEM" help:"Public key of the Clerk instance (Clerk dashboard → API keys → JWKS public key). With it, tokens are verified without a request to Clerk."`
	FrontendAPIURL    string   `name:"frontend-api-url" env:"CLERK_FRONTEND_API_URL" placeholder:"URL" help:"Frontend API of the Clerk instance, https://clerk.example.com: it issues the tokens, and serves the keys where no --jwt-key is set."`
	PublishableKey    string   `name:"publishable-key" env:"CLERK_PUBLISHABLE_KEY" placeholder:"PK" help:"Publishable key of the instance, pk_live_… or pk_test_…, which contains the host of the Frontend API. --frontend-api-url goes before it."`
	AuthorizedParties []string `name:"authorized-parties" env:"CLERK_AUTHORIZED_PARTIES" sep:"," placeholder:"ORIGIN" help:"Origins of the applications whose tokens are taken, https://app.example.com, comma-separated; ${no_party} also takes tokens without an origin, which native apps have. Without it, those of every origin."`
	Audiences         []string `name:"audience" env:"CLERK_AUDIENCE" sep:"," placeholder:"AUDIENCE" help:"Audiences of JWT templates whose tokens are taken where one is asked for, comma-separated."`
}

// VerifiesTokens reports whether there is something to verify tokens with.
func (t Tokens) VerifiesTokens() bool {
	return t.JWTKey != "" || t.FrontendAPIURL != "" || t.PublishableKey != ""
}

// TokenOptions returns what these settings say to [token.New].
func (t Tokens) TokenOptions() token.Options {
	return token.Options{Key: t.JWTKey, Issuer: t.issuer(), AuthorizedParties: items(t.AuthorizedParties), Audiences: items(t.Audiences)}
}

// issuer returns the claim iss that tokens must have, "" when it is not known.
func (t Tokens) issuer() string {
	if t.FrontendAPIURL != "" {
		return strings.TrimRight(t.FrontendAPIURL, "/")
	}
	host, _ := frontendHost(t.PublishableKey) // validated
	if host == "" {
		return ""
	}
	return "https://" + host
}

// items returns the items of a list without the white space around them, and without
// empty ones, which an empty variable has.
func items(list []string) []string {
	var all []string
	for _, item := range list {
		if item = strings.TrimSpace(item); item != "" {
			all = append(all, item)
		}
	}
	return all
}

// frontendHost returns the host of the Frontend API that a publishable key contains.
func frontendHost(key string) (string, error) {
	form := errors.New("not of the form pk_live_… or pk_test_…, which contains the host of the Frontend API; it is in the Clerk dashboard → API keys")
	rest, live := strings.CutPrefix(key, "pk_live_")
	rest, test := strings.CutPrefix(rest, "pk_test_")
	content, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
	if live == test || err != nil {
		return "", form
	}
	host, ended := strings.CutSuffix(string(content), "$")
	if u, err := url.Parse("https://" + host); !ended || err != nil || host == "" || u.Host != host {
		return "", form
	}
	return host, nil
}

// maxAudience is the length of the longest audience.
const maxAudience = 200

func (v *validation) api(c *Config) {
	if !c.VerifiesTokens() {
		v.missing("CLERK_JWT_KEY", "the role api needs it, CLERK_FRONTEND_API_URL or CLERK_PUBLISHABLE_KEY to verify tokens (Clerk dashboard → API keys)")
	}
	if c.JWTKey != "" {
		_, err := token.ParseKey(c.JWTKey)
		v.check("CLERK_JWT_KEY", err)
	}
	if c.FrontendAPIURL != "" {
		v.check("CLERK_FRONTEND_API_URL", checkFrontendAPIURL(c.FrontendAPIURL))
	}
	if c.PublishableKey != "" {
		_, err := frontendHost(c.PublishableKey)
		v.check("CLERK_PUBLISHABLE_KEY", err)
	}
	for _, party := range items(c.AuthorizedParties) {
		v.check("CLERK_AUTHORIZED_PARTIES", checkParty(party))
	}
	for _, audience := range items(c.Audiences) {
		v.check("CLERK_AUDIENCE", checkAudience(audience))
	}
}

// checkFrontendAPIURL checks the address that the keys come from, which a proxy of the
// application may put below a path.
func checkFrontendAPIURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("not of the form https://clerk.example.com; it is in the Clerk dashboard → API keys")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return errors.New("http:// would let anyone on the way replace the keys: only the loopback may have it")
	}
	return nil
}

// checkParty checks an origin as a browser sends it.
func checkParty(party string) error {
	if party == token.NoParty {
		return nil
	}
	u, err := url.Parse(party)
	if err != nil || u.Scheme == "" || u.Host == "" || party != u.Scheme+"://"+strings.ToLower(u.Host) {
		return fmt.Errorf("%q is not an origin such as https://app.example.com, in lower case and without a path, or %s", party, token.NoParty)
	}
	return nil
}

func checkAudience(audience string) error {
	for _, r := range audience {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("%q has characters other than those of ASCII that can be seen", audience)
		}
	}
	if len(audience) > maxAudience {
		return fmt.Errorf("longer than %d characters", maxAudience)
	}
	return nil
}
