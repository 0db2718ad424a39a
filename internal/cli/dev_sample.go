package cli

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/source"
)

// sampleClerk is the Clerk of dev --sample-data: it answers as the Backend API, and sends a
// webhook of every change to the endpoint.
type sampleClerk struct {
	clerk   *fakeclerk.Clerk
	emitted []fakeclerk.Event // by the latest step
	dir     *app.DataDir
	url     string
	server  *http.Server
	serving sync.WaitGroup
}

// The file in the data folder that has the sample data, and the size of it.
const (
	sampleState         = "sample-clerk.json"
	samplePeople        = 240
	sampleOrganizations = 12
)

// startSample starts the Clerk that is kept in the data folder, or a new one. Nothing
// changes yet.
func startSample(dir *app.DataDir, instanceID string) (*sampleClerk, error) {
	s := &sampleClerk{dir: dir}
	options := fakeclerk.Options{
		Seed: 1, InstanceID: instanceID, CascadeEvents: true,
		Emit: func(e fakeclerk.Event) { s.emitted = append(s.emitted, e) },
	}
	saved, err := dir.Keep(sampleState, func() (string, error) {
		c := fakeclerk.New(options)
		c.Populate(samplePeople, sampleOrganizations)
		return string(c.Save()), nil
	})
	if err != nil {
		return nil, err
	}
	if s.clerk, err = fakeclerk.Restore(options, []byte(saved)); err != nil {
		return nil, withHint(err, "remove %s from the data folder", sampleState)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.url, s.server = "http://"+listener.Addr().String(), &http.Server{Handler: s.clerk, ReadHeaderTimeout: 10 * time.Second}
	s.serving.Go(func() { s.server.Serve(listener) })
	return s, nil
}

func (s *sampleClerk) stop() {
	s.server.Close()
	s.serving.Wait()
}

// arrive brings all people into a deployment, as clerksync backfill does.
func (s *sampleClerk) arrive(c *session, d deployment) error {
	st, log, done, err := d.open(c)
	if err != nil {
		return err
	}
	defer done()
	client := source.NewClient(source.Options{SecretKey: s.clerk.SecretKey(), URL: s.url})
	defer client.Close()
	_, err = source.NewBackfill(source.BackfillOptions{
		Client: client, Log: log, Store: st, InstanceID: s.clerk.InstanceID(), Logger: c.logger,
	}).Run(c.ctx)
	return err
}

// run changes the sample data, and sends the changes to the endpoint, until ctx ends.
func (s *sampleClerk) run(ctx context.Context, endpoint, secret string) error {
	signer, err := signing.NewSigner(secret)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: signing.Timeout, CheckRedirect: signing.NoRedirects}
	defer client.CloseIdleConnections()
	err = s.change(ctx, func(e fakeclerk.Event) error { return deliver(ctx, client, signer, endpoint, e) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *sampleClerk) change(ctx context.Context, deliver func(fakeclerk.Event) error) error {
	for {
		for s.emitted = nil; len(s.emitted) == 0; { // not every step is possible
			s.clerk.Step()
		}
		if err := s.dir.Write(sampleState, s.clerk.Save()); err != nil {
			return err
		}
		for _, e := range s.emitted {
			if err := deliver(e); err != nil {
				return err
			}
		}
		// From 0.3 to 20 seconds, as often below 2.5 as above: quiet times and busy ones.
		pause := time.Duration(300 * math.Pow(20/0.3, rand.Float64()) * float64(time.Millisecond))
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// deliver sends an event to the endpoint until it is accepted: as Svix does, again after
// five seconds.
func deliver(ctx context.Context, client *http.Client, signer *signing.Signer, endpoint string, e fakeclerk.Event) error {
	for {
		req, err := signer.Request(ctx, endpoint, e.ID, time.Now(), e.Body)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode/100 == 2 {
				return nil
			}
			err = fmt.Errorf("the endpoint answered with %s", resp.Status)
		}
		if sleep(ctx, 5*time.Second) != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sampleClerk) welcome() string {
	return fmt.Sprintf("%d made-up people have arrived, and change every few seconds. backfill, reconcile, pull and doctor ask\ntheir Clerk, at %s, unless CLERK_SECRET_KEY is set.\n\n", len(s.clerk.Users()), s.url)
}
