package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/eventlog"
)

type eventsExportCmd struct {
	File          string `arg:"" optional:"" default:"-" help:"File to write, compressed with zstd when its name ends in .zst; - is standard output."`
	Force         bool   `name:"force" help:"Overwrite the file."`
	selection     `embed:"" group:"Which events"`
	deploymentLog `embed:""`
}

func (c *eventsExportCmd) Help() string {
	return `Each line is a JSON object: seq, stored_at, type, headers (of Svix and of clerksync,
with the signature), and body, the text as received, byte for byte; body_base64 instead
when it is not UTF-8. clerksync events import reads it.

The file holds everything that Clerk sent about people, private metadata included. Only
its owner can read it (0600), and it appears under its name when it is complete.`
}

// exported is the result of an export.
type exported struct {
	File   string `json:"file"`
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"` // of the file
}

func (c *eventsExportCmd) Run(s *session) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if c.JSON && c.File == "-" {
		return usageError("--json needs a file: on standard output the events are JSON already")
	}
	if c.File != "-" {
		if err := checkTarget(c.File, c.Force); err != nil {
			return err
		}
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	var w *archive.Writer
	if c.File == "-" {
		w, err = c.write(s, log, f, s.stdout)
	} else {
		err = writeWhole(c.File, func(file io.Writer) (err error) {
			w, err = c.write(s, log, f, file)
			return err
		})
	}
	switch {
	case errors.Is(err, errStopped) && c.File != "-":
		return fmt.Errorf("%w: no file was written", err)
	case errors.Is(err, errStopped):
		return fmt.Errorf("%w: the output is not complete", err)
	case err != nil:
		return err
	case c.JSON:
		return s.printJSON(exported{c.File, w.Events, w.Bytes})
	}
	to := c.File
	if to == "-" {
		to = "standard output"
	}
	fmt.Fprintf(s.stderr, "exported %d events to %s, %d bytes\n", w.Events, to, w.Bytes)
	return nil
}

// write writes the selected events.
func (c *eventsExportCmd) write(s *session, log *eventlog.Log, f eventlog.Filter, to io.Writer) (*archive.Writer, error) {
	w, err := archive.NewWriter(to, archive.Compressed(c.File))
	if err != nil {
		return nil, err
	}
	done := "exported"
	if c.File == "-" && isTerminal(s.stdout) { // progress would mix with the lines
		done = ""
	}
	n, err := c.scanEvents(s, log, f, false, done, func(m *eventlog.Message) error {
		return w.Write(&archive.Record{Seq: m.Seq, StoredAt: m.StoredAt, Event: m.Event})
	})
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, s.nothingSelected(log, f)
	}
	return w, w.Close()
}

// checkTarget refuses to overwrite a file without --force.
func checkTarget(file string, force bool) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return withHint(fmt.Errorf("%s is not a regular file", file), "name another, or - for standard output")
	case !force:
		return withHint(fmt.Errorf("%s exists", file), "--force overwrites it")
	}
	return nil
}

// writeWhole creates a file that only its owner can read. It appears under its name when
// it is complete and synced, or not at all.
func writeWhole(name string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(file.Name()) // no file after the rename
	defer file.Close()
	if err := write(file); err != nil {
		return err
	}
	err = errors.Join(file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
