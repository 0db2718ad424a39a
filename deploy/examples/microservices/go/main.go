// Command inventory is the service in Go: who calls, in which organization, with which role.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const service = "inventory" // its JWT template in Clerk, and the audience of its tokens

// The role is that of the synced row and not that of the token: a removed member is out
// at the next request, whatever the token still says.
const callerRow = `
	SELECT u.clerk_id, u.name, o.clerk_id, o.name, m.role
	FROM clerk.org_memberships m
	JOIN clerk.users u ON u.id = m.user_id
	JOIN clerk.organizations o ON o.clerk_id = m.org_id
	WHERE u.clerk_id = $1 AND m.org_id = $2 AND NOT u.banned AND NOT u.deprovisioned`

func main() {
	log.SetFlags(0)
	log.SetPrefix(service + ": ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	identity := fromHeaders
	if os.Getenv("IDENTITY") != "headers" {
		for _, name := range []string{"CLERK_JWT_KEY", "CLERK_FRONTEND_API_URL", "CLERK_AUTHORIZED_PARTIES"} {
			if os.Getenv(name) == "" {
				return fmt.Errorf("set %s", name)
			}
		}
		v, err := newVerifier(os.Getenv("CLERK_JWT_KEY"), os.Getenv("CLERK_FRONTEND_API_URL"), service, os.Getenv("CLERK_AUTHORIZED_PARTIES"))
		if err != nil {
			return err
		}
		identity = v.fromToken
	}
	if os.Getenv("DATABASE_URL") == "" {
		return errors.New("set DATABASE_URL")
	}
	db, err := pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		return errors.New("DATABASE_URL is not the address of a PostgreSQL database") // err can hold the password
	}
	defer db.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		body, err := answer(r, identity, db)
		if err != nil {
			writeProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(body)
	})
	listener, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(os.Getenv("HOST"), "127.0.0.1"), cmp.Or(os.Getenv("PORT"), "4003")))
	if err != nil {
		return err
	}
	fmt.Printf("%s: http://127.0.0.1:%d\n", service, listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	return server.Serve(listener)
}

// answer reads the caller's row.
func answer(r *http.Request, identity func(*http.Request) (caller, error), db *pgxpool.Pool) (any, error) {
	c, err := identity(r)
	if err != nil {
		return nil, err
	}
	if c.orgID == "" {
		return nil, &problem{http.StatusForbidden, "org_not_selected", "No organization is selected: choose one first (setActive in the browser)."}
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	var user, org struct {
		ID   string  `json:"id"`
		Name *string `json:"name"`
	}
	var role string
	err = db.QueryRow(ctx, callerRow, c.userID, c.orgID).Scan(&user.ID, &user.Name, &org.ID, &org.Name, &role)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &problem{http.StatusForbidden, "not_a_member", "The caller is not, or no longer, a member of this organization, or is banned."}
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"service": service, "user": user, "organization": org, "role": role}, nil
}

// problem is an answer that is an error: application/problem+json (RFC 9457).
type problem struct {
	status       int
	code, detail string
}

func (p *problem) Error() string { return p.detail }

func writeProblem(w http.ResponseWriter, err error) {
	var p *problem
	if !errors.As(err, &p) {
		log.Printf("%T", err) // no message: it can hold data
		p = &problem{http.StatusInternalServerError, "internal", "The service " + service + " failed: see its log."}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(p.status), "status": p.status, "code": p.code, "detail": p.detail})
}
