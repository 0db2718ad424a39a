//go:build examples

package examples

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

// Organizations of testdata/events: ada is in the first, ben in the second.
const (
	acme  = "org_2synth0000000000000000Acme1"
	birch = "org_2synth000000000000000Birch1"
)

func TestMultiTenant(t *testing.T) {
	t.Parallel()

	issuer := testkit.NewTokenIssuer(t)
	sync := startClerksync(t)
	output(t, ".", []string{"DATABASE_URL=" + sync.DatabaseURL}, program, "migrate", "up", "--with", "rls")
	dir := filepath.Join(folder, "multi-tenant")
	db, err := pgx.Connect(t.Context(), sync.DatabaseURL)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close(context.Background()) })
	execFile(t, db, dir, "prisma/migrations/20260105090000_posts/migration.sql")
	execFile(t, db, dir, "prisma/tenants.sql")
	t.Cleanup(func() {
		_, err := db.Exec(context.Background(), "DROP OWNED BY multi_tenant; DROP ROLE multi_tenant_app, multi_tenant")
		require.NoError(t, err)
	})

	output(t, dir, []string{noEngine}, bin(t, "prisma"), "generate")
	output(t, dir, nextSettings(issuer), bin(t, "next"), "build")
	app := startNext(t, "start", dir, nextSettings(issuer, "DATABASE_URL="+sync.as(t, db, "multi_tenant_app"))...)
	page := func(path, token string) response {
		t.Helper()
		return get(t, app+path, append(cookie(token), "Accept", "text/html")...)
	}
	redirects := func(path, token, to string) {
		t.Helper()
		answer := page(path, token)
		require.Equal(t, http.StatusTemporaryRedirect, answer.StatusCode, answer.Body)
		require.Regexp(t, "^("+app+")?"+to, answer.Header.Get("Location"))
	}
	adas, bens := issuer.Session(ada, acme, "admin"), issuer.Session(ben, birch, "admin")

	// Without an organization, to the page that chooses one; without a session, and while
	// Clerk's task to choose an organization is pending, to the sign-in, which leads there.
	// Nobody goes round in a circle: both pages are for everyone.
	pending := signed(issuer, ada, map[string]any{"sts": "pending"})
	for _, path := range []string{"/", "/posts/1d3b5a0e-3ad1-4a0c-9d3d-5f1c6a7e8b90"} {
		redirects(path, issuer.Session(ada), "/select-org$")
		redirects(path, pending, `/sign-in\b`)
		redirects(path, "", `/sign-in\b`)
	}
	for _, token := range []string{issuer.Session(ada), pending, ""} {
		require.Equal(t, http.StatusOK, page("/select-org", token).StatusCode)
		require.Equal(t, http.StatusOK, page("/sign-in", token).StatusCode)
	}

	// The token comes before the webhooks.
	require.Contains(t, page("/", adas).Body, "not a member")
	sync.send(t, "user.created", "organization.created", "organizationMembership.created",
		"user.created--ben", "organization.created--birch", "organizationMembership.created--ben")
	require.Contains(t, page("/", adas).Body, "<h1>Acme Analytics</h1>")
	require.Contains(t, page("/", bens).Body, "<h1>Birch Labs</h1>")

	// What one tenant writes, the other does not see: not in a list, and not by its id in a
	// query that forgot the tenant.
	action := find(t, page("/", adas).Body, `name="(\$ACTION_ID_[0-9a-f]+)"`)
	require.Equal(t, http.StatusOK, submit(t, app, adas, action, "Plans of Acme").StatusCode)
	require.Equal(t, http.StatusOK, submit(t, app, bens, action, "Plans of Birch").StatusCode)
	seen := page("/", adas)
	require.Contains(t, seen.Body, "Plans of Acme, by Ada Example")
	require.NotContains(t, seen.Body, "Birch")
	require.NotContains(t, page("/", bens).Body, "Acme")
	post := find(t, seen.Body, `href="(/posts/[0-9a-f-]+)"`)
	require.Contains(t, page(post, adas).Body, "<h1>Plans of Acme</h1>")
	require.Equal(t, http.StatusNotFound, page(post, bens).StatusCode)

	// A token that claims an organization which the user is not in, or is no longer in,
	// reads and writes nothing: the row counts.
	claiming := issuer.Session(ben, acme, "admin")
	require.Contains(t, page("/", claiming).Body, "not a member")
	require.Equal(t, http.StatusNotFound, page(post, claiming).StatusCode)
	require.Equal(t, http.StatusInternalServerError, submit(t, app, claiming, action, "From outside").StatusCode)

	// With the membership the same token reads, and sees what a former member wrote.
	joined, err := os.ReadFile("../../testdata/events/organizationMembership.created--ben.json")
	require.NoError(t, err)
	joined = []byte(strings.NewReplacer(birch, acme, "orgmem_2synth0000000000BenAtBirch1", "orgmem_2synth00000000000BenAtAcme1").Replace(string(joined)))
	require.Equal(t, http.StatusNoContent, deliver(t, sync.Endpoint, sync.Secret, signing.NewID(), joined))
	sync.send(t, "organizationMembership.deleted")
	require.Contains(t, page("/", claiming).Body, "Plans of Acme, by a former member")
	require.Contains(t, page("/", adas).Body, "not a member")
	require.Equal(t, http.StatusNotFound, page(post, adas).StatusCode)
	require.Equal(t, http.StatusInternalServerError, submit(t, app, adas, action, "After the end").StatusCode)

	rows, err := db.Query(t.Context(), "SELECT title FROM posts ORDER BY title")
	require.NoError(t, err)
	titles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"Plans of Acme", "Plans of Birch"}, titles)
}

// TestMultiTenantModels: the printed files of the example are those that clerksync schema
// prints now, and what Prisma's shadow database runs makes the application's table.
func TestMultiTenantModels(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder, "multi-tenant")
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		return string(text)
	}
	models := output(t, ".", nil, program, "schema", "prisma")
	require.Equal(t, models, strings.ReplaceAll(read("prisma/clerk.prisma"), "  posts          Post[]\n", ""))
	require.Equal(t, output(t, ".", nil, program, "schema", "sql"), read("prisma/clerk.sql"))
	external := regexp.MustCompile(`['"]clerk\.\w+['"],`)
	require.Equal(t, external.FindAllString(models, -1), external.FindAllString(strings.ReplaceAll(read("prisma.config.ts"), "'", `"`), -1))
	output(t, dir, []string{noEngine}, bin(t, "prisma"), "validate")
	output(t, dir, []string{noEngine}, bin(t, "prisma"), "format", "--check")

	db, err := pgx.Connect(t.Context(), testkit.EmptyDatabaseURL(t))
	require.NoError(t, err)
	defer db.Close(t.Context())
	execFile(t, db, dir, "prisma/clerk.sql")
	execFile(t, db, dir, "prisma/migrations/20260105090000_posts/migration.sql")
}

// execFile executes the statements of a file.
func execFile(t *testing.T, db *pgx.Conn, dir, file string) {
	t.Helper()
	statements, err := os.ReadFile(filepath.Join(dir, file))
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), string(statements))
	require.NoError(t, err)
}

// as gives a role a password, and returns the URL with which it connects.
func (c *clerksync) as(t *testing.T, db *pgx.Conn, role string) string {
	t.Helper()
	_, err := db.Exec(t.Context(), "ALTER ROLE "+role+" PASSWORD 'of-the-tests'")
	require.NoError(t, err)
	database, err := url.Parse(c.DatabaseURL)
	require.NoError(t, err)
	database.User = url.UserPassword(role, "of-the-tests")
	return database.String()
}

// submit submits the form of the page, as a browser without JavaScript does.
func submit(t *testing.T, app, token, action, title string) response {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	require.NoError(t, form.WriteField(action, ""))
	require.NoError(t, form.WriteField("title", title))
	require.NoError(t, form.Close())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app, &body)
	require.NoError(t, err)
	headers := append(cookie(token), "Content-Type", form.FormDataContentType(), "Origin", app, "Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return do(t, request)
}

// find returns the first group of a pattern in a text.
func find(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.NotNil(t, found, "no %s in %s", pattern, text)
	return found[1]
}
