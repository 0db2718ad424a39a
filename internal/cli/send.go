package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/signing"
)

type sendCmd struct {
	Files  []string      `arg:"" name:"file" help:"Files with the body of one event each, folders of such files (*.json), or - for standard input."`
	URL    string        `name:"url" env:"CLERKSYNC_URL" placeholder:"URL" help:"URL of the endpoint. Without it, that of the clerksync running here."`
	Secret config.Secret `name:"secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" placeholder:"WHSEC" help:"Signing secret; of several, comma-separated, the first signs. Without it, that of clerksync dev running here."`
	ID     string        `name:"id" placeholder:"MSG" help:"svix-id, for one file; sent again with the same id, it is a redelivery. Without it, each file gets a new one."`
	AsIs   bool          `name:"as-is" help:"Leave the timestamp of the event as it is in the file."`
	local  `embed:""`
}

func (c *sendCmd) Help() string {
	return `Signs each file and posts it with the headers that Svix sends, one after the other. Exit
status 1 when any was not accepted.

The event is emitted now: its timestamp, from which lag is measured, becomes the present
time. All else is sent byte for byte, also data.updated_at, which decides the order of an
entity's events; of two with the same one, the later sent is the newer. With --as-is, the
timestamp stays as well.

A file that is named twice is sent twice with the same svix-id, as when Svix delivers an
event again: a duplicate. Sent by two calls, it is two events, unless --id says otherwise.`
}

// sent is the result for one event.
type sent struct {
	File       string  `json:"file"`
	SvixID     string  `json:"svix_id"`
	Type       string  `json:"type"`   // "" when the body cannot be decoded
	Entity     string  `json:"entity"` // likewise
	Status     int     `json:"status"` // 0 when there was no answer
	Answer     string  `json:"answer"` // text of the answer, or of the error
	DurationMS float64 `json:"duration_ms"`
}

func (c *sendCmd) Run(s *session) error {
	files, err := expand(c.Files)
	if err != nil {
		return err
	}
	if c.ID != "" && len(files) != 1 {
		return usageError(fmt.Sprintf("--id is for one file, not for %d", len(files)))
	}
	endpoint, secret, err := c.endpoint(c.URL, c.Secret)
	if err != nil {
		return err
	}
	signer, err := signing.NewSigner(secret)
	if err != nil {
		return usageError(err.Error())
	}
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: signing.NoRedirects}

	all := []sent{}
	deliveries := map[string]delivery{} // by file
	failed, last := 0, int64(0)
	for _, file := range files {
		d, again := deliveries[file]
		if !again {
			if d.body, err = s.readBody(file); err != nil {
				return err
			}
			if !c.AsIs {
				// No two events of a call share a time, which would leave their order to chance.
				last = max(time.Now().UnixMilli(), last+1)
				d.body = clerk.EmittedAt(d.body, last)
			}
			if d.id = c.ID; d.id == "" {
				d.id = signing.NewID()
			}
			deliveries[file] = d
		}
		r := c.send(s.ctx, client, signer, endpoint, file, d)
		if r.Status == 0 && s.ctx.Err() != nil {
			break // Ctrl-C
		}
		if r.Status/100 != 2 {
			failed++
		}
		all = append(all, r)
		if !c.JSON {
			fmt.Fprintln(s.stdout, r.line())
		}
	}
	if c.JSON {
		if err := s.printJSON(all); err != nil {
			return err
		}
	}
	if len(all) < len(files) {
		return fmt.Errorf("stopped: %d of %d events were sent", len(all), len(files))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d events were not accepted", failed, len(files))
	}
	return nil
}

// line formats the result for people.
func (r *sent) line() string {
	status, eventType, entity := strconv.Itoa(r.Status), r.Type, r.Entity
	if r.Status == 0 {
		status = "---"
	}
	if eventType == "" {
		eventType = "?"
	}
	if entity == "" {
		entity = "?"
	}
	line := fmt.Sprintf("%s  %s  %s  %s  %.1f ms", status, oneLine(eventType), oneLine(entity), oneLine(r.SvixID), r.DurationMS)
	if r.Answer != "" {
		line += "  " + oneLine(r.Answer)
	}
	return line
}

// delivery is the body of an event as it is sent, and its svix-id.
type delivery struct {
	id   string
	body []byte
}

func (c *sendCmd) send(ctx context.Context, client *http.Client, signer *signing.Signer, endpoint, file string, d delivery) sent {
	r := sent{File: file, SvixID: d.id}
	if e, err := clerk.ParseEnvelope(d.body); err == nil {
		r.Type, r.Entity = e.Type, e.EntityID
	}
	fail := func(err error) sent {
		r.Answer = err.Error()
		return r
	}
	now := time.Now()
	req, err := signer.Request(ctx, endpoint, r.SvixID, now, d.body)
	if err != nil {
		return fail(err)
	}
	resp, err := client.Do(req)
	r.DurationMS = float64(time.Since(now).Microseconds()) / 1000
	if err != nil {
		var inURL *url.Error // which repeats the address
		if errors.As(err, &inURL) {
			err = inURL.Err
		}
		return fail(fmt.Errorf("no answer from %s: %w", req.URL.Host, err))
	}
	defer resp.Body.Close()
	r.Status = resp.StatusCode
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	r.Answer = strings.TrimSpace(string(answer))
	if location := resp.Header.Get("Location"); location != "" {
		r.Answer = "redirected to " + location + ", which Svix counts as a failure"
	}
	return r
}

// expand replaces folders by the *.json files in them.
func expand(names []string) ([]string, error) {
	var files []string
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case name == "-":
			files = append(files, name)
		case errors.Is(err, fs.ErrNotExist):
			return nil, withHint(fmt.Errorf("no such file: %s", name), "events to try are in testdata/events of clerksync's source")
		case err != nil:
			return nil, err
		case info.IsDir():
			entries, err := os.ReadDir(name)
			if err != nil {
				return nil, err
			}
			before := len(files)
			for _, e := range entries {
				if !e.IsDir() && filepath.Ext(e.Name()) == ".json" {
					files = append(files, filepath.Join(name, e.Name()))
				}
			}
			if len(files) == before {
				return nil, fmt.Errorf("no *.json in %s", name)
			}
		default:
			files = append(files, name)
		}
	}
	return files, nil
}

func (s *session) readBody(file string) ([]byte, error) {
	if file == "-" {
		body, err := io.ReadAll(s.stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return body, nil
	}
	return os.ReadFile(file)
}
