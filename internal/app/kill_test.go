package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestKilledAtAnyMomentLosesNothingAcknowledged: the process is killed and restarted
// while webhooks arrive. Unanswered deliveries are sent again, as Svix does, acknowledged
// ones are not. At the end the tables equal those of the history applied once, in order.
func TestKilledAtAnyMomentLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	const kills = 6
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	history := testkit.ManyHistories(16)
	s := newServer(t)

	// Senders take events from the queue and put the unacknowledged ones back.
	svixDeliver, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	queue := make(chan *clerk.Event, 2*len(history))
	random.Shuffle(len(history), func(i, j int) {
		// Out of order, within a window as retries make it.
		if i-j < 20 {
			history[i], history[j] = history[j], history[i]
		}
	})
	for _, e := range history {
		queue <- e
		if random.IntN(10) == 0 { // the same delivery a second time
			queue <- e
		}
	}
	total := int64(len(queue))
	var acknowledged, refused, broken atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
	defer cancel()
	var senders sync.WaitGroup
	for range 6 {
		senders.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 15 * time.Second}
			defer client.CloseIdleConnections()
			for {
				var e *clerk.Event
				select {
				case e = <-queue:
				case <-ctx.Done():
					return
				default:
					if acknowledged.Load() == total {
						return
					}
					select { // somebody may put one back
					case e = <-queue:
					case <-time.After(5 * time.Millisecond):
						continue
					case <-ctx.Done():
						return
					}
				}
				endpoint, err := s.endpoint(ctx)
				if err != nil {
					return
				}
				switch status := deliver(ctx, client, svixDeliver, endpoint, e); {
				case status/100 == 2:
					acknowledged.Add(1)
				case status == 0:
					broken.Add(1)
					queue <- e
				default:
					refused.Add(1)
					queue <- e
				}
			}
		})
	}

	s.start()
	for kill := 1; kill <= kills; kill++ {
		goal := total * int64(kill) / (kills + 1)
		testkit.Eventually(t, "a part is acknowledged", func() (bool, any) {
			got := acknowledged.Load()
			return got >= goal, fmt.Sprintf("%d of %d; %d refused, %d broken; %s", got, goal, refused.Load(), broken.Load(), s.tail())
		})
		<-time.After(time.Duration(random.IntN(40_000)) * time.Microsecond) // a random moment
		s.kill()
		s.start()
	}
	senders.Wait()
	require.NoError(t, ctx.Err(), "%d of %d acknowledged; %s", acknowledged.Load(), total, s.tail())
	require.Equal(t, total, acknowledged.Load())
	require.Positive(t, broken.Load(), "the kills met deliveries")
	require.Zero(t, refused.Load(), "a process that answers takes what it gets")

	s.awaitDrained()
	actual, expected := testkit.OpenStore(t, s.database), testkit.Store(t)
	for i, e := range history {
		_, err := expected.Apply(t.Context(), []store.Entry{{Change: testkit.Change(e), Seq: uint64(i + 1)}})
		require.NoError(t, err)
	}
	if diff := cmp.Diff(testkit.Tables(t, expected), testkit.Tables(t, actual)); diff != "" {
		t.Fatalf("rows differ from those of the history (-history +after %d kills):\n%s", kills, diff)
	}
	t.Logf("%d events, %d deliveries acknowledged, %d broken", len(history), total, broken.Load())
}

// deliver posts an event as Svix does, and returns the status, 0 when there was no
// answer.
func deliver(ctx context.Context, client *http.Client, webhook *svix.Webhook, endpoint string, e *clerk.Event) int {
	now := time.Now()
	signature, err := webhook.Sign(e.ID, now, e.Body)
	if err != nil {
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(e.Body))
	if err != nil {
		return 0
	}
	req.GetBody = nil // what is broken is for us to see
	req.Header.Set("Svix-Id", e.ID)
	req.Header.Set("Svix-Timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("Svix-Signature", signature)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// server is a clerksync serve process.
type server struct {
	t        *testing.T
	binary   string
	dir      string
	database string
	output   *os.File
	args     []string // of serve
	env      []string

	process *exec.Cmd
	mu      sync.Mutex
	running *app.Running
	up      chan struct{} // closed while it runs
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "data"), database: testkit.EmptyDatabaseURL(t), args: []string{"--migrate"}, up: make(chan struct{})}
	s.binary = filepath.Join(t.TempDir(), "clerksync")
	build := exec.Command("go", "build", "-o", s.binary, "github.com/clerksync/clerksync/cmd/clerksync")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.output, err = os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	t.Cleanup(func() {
		if s.process != nil {
			s.process.Process.Kill()
			s.process.Wait()
		}
		s.output.Close()
	})
	return s
}

// start starts the process and returns when it has logged its address.
func (s *server) start() {
	s.t.Helper()
	s.process = exec.Command(s.binary, append([]string{"serve"}, s.args...)...)
	s.process.Env = append(append(os.Environ(), s.env...),
		"CLERKSYNC_DATA_DIR="+s.dir, "DATABASE_URL="+s.database, "CLERKSYNC_ADDR=127.0.0.1:0",
		"CLERKSYNC_ADMIN_ADDR=127.0.0.1:0", "CLERK_WEBHOOK_SIGNING_SECRET="+secret, "NATS_URL=", "CLERKSYNC_BATCH=20")
	s.process.Stdout, s.process.Stderr = s.output, s.output
	require.NoError(s.t, s.process.Start())
	testkit.Eventually(s.t, "the process has announced itself", func() (bool, any) {
		running, err := app.ReadRunning(s.dir)
		if err != nil || running.PID != s.process.Process.Pid {
			return false, fmt.Sprintf("%v; %s", err, s.tail())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running = running
		close(s.up)
		return true, nil
	})
}

// kill is kill -9.
func (s *server) kill() {
	s.t.Helper()
	s.mu.Lock()
	s.running, s.up = nil, make(chan struct{})
	s.mu.Unlock()
	require.NoError(s.t, s.process.Process.Kill())
	s.process.Wait()
}

// endpoint waits for the URL of the endpoint.
func (s *server) endpoint(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		running, up := s.running, s.up
		s.mu.Unlock()
		if running != nil {
			return running.Endpoint, nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// awaitDrained waits until the process reports no pending events, and no dead letters.
func (s *server) awaitDrained() {
	s.t.Helper()
	testkit.Eventually(s.t, "nothing is pending", func() (bool, any) {
		_, metrics := get(s.t, s.running.AdminURL+"/metrics", "")
		var state []string
		for _, line := range strings.Split(metrics, "\n") {
			for _, name := range []string{"clerksync_event_log_up ", "clerksync_pending_events ", "clerksync_dead_letters "} {
				if strings.HasPrefix(line, name) {
					state = append(state, line)
				}
			}
		}
		said := strings.Join(state, ", ")
		return said == "clerksync_dead_letters 0, clerksync_event_log_up 1, clerksync_pending_events 0", said
	})
}

// tail returns the end of the process's output.
func (s *server) tail() string {
	data, err := os.ReadFile(s.output.Name())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-1500):])
}

// command runs a command beside the process. It has the process's database unless one is
// given.
func (s *server) command(database string, args ...string) (string, error) {
	cmd := exec.Command(s.binary, args...)
	cmd.Env = append(os.Environ(), "CLERKSYNC_DATA_DIR="+s.dir, "DATABASE_URL="+database, "NATS_URL=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
