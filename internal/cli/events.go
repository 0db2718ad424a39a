package cli

import (
	"io"

	"github.com/clerksync/clerksync/internal/eventlog"
)

type eventsCmd struct {
	Ls     eventsLsCmd     `cmd:"" help:"List stored events."`
	Show   eventsShowCmd   `cmd:"" help:"Show one stored event in full."`
	Export eventsExportCmd `cmd:"" help:"Write stored events to a file, one a line."`
	Import eventsImportCmd `cmd:"" help:"Store exported events in the log."`
	Lost   eventsLostCmd   `cmd:"" help:"Tell which events left the log before they were applied, and acknowledge it."`
	Adopt  eventsAdoptCmd  `cmd:"" help:"Let the database go on with another event log."`
}

// orDash returns "-" for an empty text.
func orDash(text string) string {
	if text = oneLine(text); text == "" {
		return "-"
	}
	return text
}

// scanEvents calls each for every selected event and returns their number. It shows its
// progress unless done is "".
func (l *local) scanEvents(s *session, log *eventlog.Log, f eventlog.Filter, headersOnly bool, done string, each func(*eventlog.Message) error) (int, error) {
	scan, err := log.Events(s.ctx, f, headersOnly)
	if err != nil {
		return 0, readError(s.ctx, err)
	}
	defer scan.Close()
	bar := &progress{}
	if done != "" {
		total, err := scan.Total(s.ctx)
		if err != nil {
			return 0, readError(s.ctx, err)
		}
		bar = l.progress(s, total, done)
		defer bar.finish()
	}
	for n := 0; ; n++ {
		m, err := scan.Next(s.ctx)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, readError(s.ctx, err)
		}
		if err := each(m); err != nil {
			return n, err
		}
		bar.set(uint64(n) + 1)
	}
}
