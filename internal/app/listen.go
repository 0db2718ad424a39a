package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/clerksync/clerksync/internal/dashboard"
	"github.com/clerksync/clerksync/internal/monitor"
	"github.com/clerksync/clerksync/internal/receiver"
)

// startAdmin starts the listener for operators. What is the same for both, it adds.
func (a *App) startAdmin(o Options, m monitor.Options, d dashboard.Options) error {
	host, _, _ := net.SplitHostPort(o.Config.Admin.Addr)
	ip := net.ParseIP(host)
	m.Token, m.Local = o.Config.Admin.Token.Reveal(), host == "localhost" || ip != nil && ip.IsLoopback()
	d.Token, d.Local = m.Token, m.Local
	d.Instance, d.Version, d.Logger = o.Config.InstanceID, o.Version, o.Logger.With("component", "dashboard")
	page, err := dashboard.New(d)
	if err != nil {
		return err
	}
	m.Dashboard = page
	addr, err := a.listen("admin listener", o.Config.Admin.Addr, "CLERKSYNC_ADMIN_ADDR", &http.Server{
		Handler:           monitor.Handler(m),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // the dashboard's stream sets its own
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	})
	if err != nil {
		return err
	}
	// After the listener in the order of starts: its stop waits for the streams.
	a.onStop("dashboard", func(context.Context) error { page.Close(); return nil })
	a.AdminURL = "http://" + reachable(addr)
	return nil
}

// publicServer is the server that faces the internet. Every stage of a connection
// has its limit: a client that is slow on purpose does not get further than one
// that is slow by fate, and Svix gives up after 15 s anyway.
func publicServer(webhook http.Handler) *http.Server {
	return &http.Server{
		// Not a ServeMux: it redirects paths that are not clean, and Svix takes a
		// redirect for a failure.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != receiver.Path {
				http.Error(w, "not found", http.StatusNotFound)
				return
			}
			webhook.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,                                        // head and body
		WriteTimeout:      10*time.Second + receiver.DefaultDeadline + time.Second, // from the end of the head
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// listen serves on addr until the app stops.
func (a *App) listen(part, addr, variable string, server *http.Server) (net.Addr, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w; %s names another address", part, err, variable)
	}
	server.ErrorLog = slog.NewLogLogger(a.logger.With("component", part).Handler(), slog.LevelDebug)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.fatal <- fmt.Errorf("%s: %w", part, err)
		}
	}()
	a.onStop(part, func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		return errors.Join(err, server.Close())
	})
	return listener.Addr(), nil
}

// reachable is an address that a client on this machine can use.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
