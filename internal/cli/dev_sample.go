package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// sampleClerk is the Clerk of dev --sample-data: it sends webhooks to the endpoint, and
// answers as the Backend API.
type sampleClerk struct {
	clerk    *fakeclerk.Clerk
	emitted  []fakeclerk.Event // by the latest step
	dir      *app.DataDir
	listener net.Listener
	endpoint string
	signer   *signing.Signer
	client   *http.Client
	people   int
}

// The file in the data folder that has the sample data, and the size of it.
const (
	sampleState         = "sample-clerk.json"
	samplePeople        = 240
	sampleOrganizations = 12
)

// startSample starts the Clerk that is kept in the data folder, or a new one, and sends
// all of it to the endpoint.
func startSample(ctx context.Context, dir *app.DataDir, instanceID, endpoint, secret string) (_ *sampleClerk, err error) {
	s := &sampleClerk{dir: dir, endpoint: endpoint, client: &http.Client{Timeout: signing.Timeout, CheckRedirect: signing.NoRedirects}}
	if s.signer, err = signing.NewSigner(secret); err != nil {
		return nil, err
	}
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
	s.people = len(s.clerk.Users())
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	sending, cancel := context.WithTimeout(ctx, 30*time.Second) // a second or two, unless the log is full
	defer cancel()
	sends, sending := errgroup.WithContext(sending)
	sends.SetLimit(8)
	for _, e := range s.clerk.Present() {
		sends.Go(func() error { return s.deliver(sending, e) })
	}
	if err := sends.Wait(); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	return s, nil
}

// run changes the sample data, and answers requests, until ctx ends.
func (s *sampleClerk) run(ctx context.Context) error {
	server := &http.Server{Handler: s.clerk, ReadHeaderTimeout: 10 * time.Second}
	var serving errgroup.Group
	serving.Go(func() error { return server.Serve(s.listener) })
	err := s.change(ctx)
	server.Close()
	serving.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *sampleClerk) change(ctx context.Context) error {
	for {
		for s.emitted = nil; len(s.emitted) == 0; { // not every step is possible
			s.clerk.Step()
		}
		if err := s.dir.Write(sampleState, s.clerk.Save()); err != nil {
			return err
		}
		for _, e := range s.emitted {
			if err := s.deliver(ctx, e); err != nil {
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
func (s *sampleClerk) deliver(ctx context.Context, e fakeclerk.Event) error {
	for {
		req, err := s.signer.Request(ctx, s.endpoint, e.ID, time.Now(), e.Body)
		if err != nil {
			return err
		}
		resp, err := s.client.Do(req)
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
	return fmt.Sprintf(`%d made-up people have arrived, and change every few seconds. Their Clerk is at

  export CLERK_API_URL=http://%s
  export CLERK_SECRET_KEY=%s

`, s.people, s.listener.Addr(), s.clerk.SecretKey())
}
