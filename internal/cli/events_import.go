package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
)

type eventsImportCmd struct {
	Files         []string        `arg:"" name:"file" help:"Files of clerksync events export, compressed or not, or - for standard input."`
	Secrets       []config.Secret `name:"secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" sep:"," placeholder:"WHSEC" help:"Signing secret of the endpoint that received the events, or several, comma-separated. Without it, that of clerksync dev running here."`
	Trust         bool            `name:"trust" help:"Do not check the signatures."`
	InstanceID    string          `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Refuse events of another Clerk instance than this, ins_…."`
	deploymentLog `embed:""`
}

func (c *eventsImportCmd) Help() string {
	return `Reads and checks all files before it stores the first event: one fault, and nothing is
stored. Then it stores the events that the log does not hold, by svix id, with origin
import. So an import that was stopped can be run again, and has to be.

A pipe can be read only once: its events are stored as they are checked, up to the first
fault. It may be of any length.

Events of people who were erased since the export come back with it.`
}

func (c *eventsImportCmd) Run(s *session) error {
	i := &importer{cmd: c, s: s}
	if err := i.prepare(); err != nil {
		return err
	}
	files, err := s.openInputs(c.Files)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return err
	}
	total, err := i.check(files)
	if err != nil {
		return err
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	result, err := i.store(log, files, total)
	switch {
	case err == nil:
	case result == archive.Counts{} && total == 0: // the fault is in the first event of a pipe
		return fmt.Errorf("nothing was imported: %w", err)
	default:
		of := ""
		if total > 0 {
			of = fmt.Sprintf(" of %d", total)
		}
		return withHint(fmt.Errorf("%w: %d%s events were stored, %d were there already", err, result.Stored, of, result.Present),
			"%s", cmp.Or(hintOf(err), "run the import again for the rest"))
	}
	if c.JSON {
		return s.printJSON(result)
	}
	fmt.Fprintf(s.stdout, "stored %d events, %d were there already\n", result.Stored, result.Present)
	return nil
}

// importer reads files twice: to check all, then to store. A pipe it reads once.
type importer struct {
	cmd       *eventsImportCmd
	s         *session
	admission archive.Admission
}

// prepare sets up the checks of the events.
func (i *importer) prepare() error {
	c := i.cmd
	if n := len(slices.DeleteFunc(slices.Clone(c.Files), func(name string) bool { return name != "-" })); n > 1 {
		return usageError("-, standard input, can be given only once")
	}
	if err := config.CheckInstanceID(c.InstanceID); err != nil {
		return usageError("--instance-id is " + err.Error())
	}
	i.admission.InstanceID = c.InstanceID
	if c.Trust {
		return nil
	}
	var secrets []string
	for _, secret := range c.Secrets {
		secrets = append(secrets, secret.Reveal())
	}
	if len(secrets) == 0 {
		running, err := c.running()
		if err != nil && !errors.Is(err, app.ErrNotRunning) {
			return err
		}
		if err != nil || running.SigningSecret == "" {
			return withHint(errors.New("no signing secret to check the events with"),
				"set CLERK_WEBHOOK_SIGNING_SECRET, or give --secret, of the endpoint that received them; --trust skips the check")
		}
		secrets = []string{running.SigningSecret}
	}
	var err error
	if i.admission.Verifier, err = signing.NewVerifier(secrets, nil); err != nil {
		return usageError(err.Error())
	}
	return nil
}

// check reads all files and returns the number of events in them. With a pipe among them,
// the number is not known, and 0.
func (i *importer) check(files []input) (total uint64, err error) {
	bar := i.cmd.progress(i.s, 0, "checked")
	defer bar.finish()
	pipe := false
	for _, f := range files {
		if f.file == nil {
			pipe = true
			continue
		}
		err := i.each(f, func(*clerk.Event) error {
			if i.s.ctx.Err() != nil {
				return errStopped
			}
			total++
			bar.set(total)
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("nothing was imported: %w", err)
		}
	}
	if pipe {
		return 0, nil
	}
	return total, nil
}

// each calls take for every admitted event of a file, of which there must be one. An error
// names the file and the line.
func (i *importer) each(f input, take func(*clerk.Event) error) error {
	if f.file != nil {
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	r, err := archive.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	defer r.Close()
	for {
		record, err := r.Read()
		switch {
		case err == io.EOF && r.Line() == 0:
			return fmt.Errorf("%s: there is no event in it", f.name)
		case err == io.EOF:
			return nil
		case errors.Is(err, archive.ErrCutOff):
			return withHint(fmt.Errorf("%s: %w", f.name, err), "copy the file again")
		case err != nil:
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := i.admission.Admit(record); err != nil {
			return withHint(fmt.Errorf("%s: line %d: %w", f.name, r.Line(), err), "%s", admissionHint(err))
		}
		if err := take(record.Event); err != nil {
			return err
		}
	}
}

func admissionHint(err error) string {
	switch {
	case errors.Is(err, archive.ErrUnsigned):
		return "--trust skips the check"
	case errors.Is(err, archive.ErrSignature):
		return "--secret names another signing secret, --trust skips the check"
	case errors.Is(err, archive.ErrInstance):
		return "without CLERK_INSTANCE_ID it is taken"
	}
	return ""
}

// store stores the events that the log does not hold.
func (i *importer) store(log *eventlog.Log, files []input, total uint64) (archive.Counts, error) {
	ingest := archive.NewIngest(i.s.ctx, log)
	stop := i.cmd.progress(i.s, total, "imported").follow(func() uint64 {
		c := ingest.Counts()
		return c.Stored + c.Present
	})
	defer stop()
	var readErr error
	for _, f := range files {
		if readErr = i.each(f, ingest.Add); readErr != nil {
			break
		}
	}
	err := ingest.Wait()
	if err == nil {
		err = log.Sync(i.s.ctx)
	}
	switch {
	case i.s.ctx.Err() != nil:
		err = errStopped
	case err == nil:
		err = readErr
	}
	return ingest.Counts(), err
}
