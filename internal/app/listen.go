package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/receiver"
)

// startAdmin opens the admin listener.
func (a *App) startAdmin(context.Context) (stopFunc, error) {
	c := a.o.Config
	open := admin.HealthOnly
	if a.adminToken = c.Admin.Token.Reveal(); a.adminToken == "" && c.Loopback() {
		switch {
		case a.o.OpenDashboard:
			open = admin.Everything
		case a.o.DataDir != nil: // where clerksync dashboard finds it
			open, a.adminToken = admin.Readings, rand.Text()
		default:
			open = admin.Readings
		}
	}
	o := admin.Options{
		Checks: a.checks, Gatherer: a.registry, Store: a.store, Instance: c.InstanceID, Version: a.o.Version, Endpoint: a.knownEndpoint(),
		Token: a.adminToken, Open: open, Logger: a.logger("admin"),
	}
	if a.o.Roles.Has(events) {
		o.Log, o.Meter, o.Watch, o.Gatherer = a.log, a.meter, a.watch, prometheus.Gatherers{a.registry, a.measured}
	}
	handler, err := admin.New(o)
	if err != nil {
		return nil, err
	}
	addr, stop, err := a.listen("admin listener", c.Admin.Addr, "CLERKSYNC_ADMIN_ADDR", &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // the dashboard's stream sets its own
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	})
	if err != nil {
		return nil, err
	}
	a.AdminURL = "http://" + Reachable(addr.String())
	return func(ctx context.Context) error {
		handler.Close() // ends the streams, for which the listener would wait
		return stop(ctx)
	}, nil
}

// knownEndpoint returns the URL of the webhook as far as it is known before the public
// listener opens: the public one when probes have it.
func (a *App) knownEndpoint() string {
	c := a.o.Config.Receiver
	switch {
	case !a.o.Roles.Has(config.RoleReceiver):
		return ""
	case c.ProbeURL != "":
		return c.ProbeURL
	case strings.HasSuffix(c.Addr, ":0"): // a free port
		return ""
	}
	return "http://" + Reachable(c.Addr) + clerk.WebhookPath
}

// publicServer returns the server that faces the internet. Every stage of a connection
// has a time limit against slow clients; Svix itself gives up after 15 s.
func publicServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,                                        // head and body; the receiver gives a body less
		WriteTimeout:      10*time.Second + receiver.DefaultDeadline + time.Second, // counted from the end of the head
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// listen serves on addr until the app stops.
func (a *App) listen(part, addr, variable string, server *http.Server) (net.Addr, stopFunc, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("start the %s: %w; %s names another address", part, err, variable)
	}
	server.ErrorLog = slog.NewLogLogger(a.logger(part).Handler(), slog.LevelDebug)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.fatal <- fmt.Errorf("%s: %w", part, err)
		}
	}()
	return listener.Addr(), func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		return errors.Join(err, server.Close())
	}, nil
}

// Reachable returns the address of a listener as a client on this machine can use it.
func Reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
