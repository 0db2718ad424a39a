package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// lineInterval is the time between two lines of progress where there is no bar.
const lineInterval = time.Minute

// progress is a progress bar on a terminal. Elsewhere, and with --json, there is none.
type progress struct {
	stderr io.Writer
	bar    *progressbar.ProgressBar // nil when there is none
	most   uint64                   // limit of set
}

// progress starts a bar for total events, 0 when the number is unknown; done is a word
// such as "replayed". Call finish before anything else is printed.
func (l *local) progress(s *session, total uint64, done string) *progress {
	return l.progressOf(s, "events", total, done)
}

// progressOf is progress for other things than events, with their name.
func (l *local) progressOf(s *session, things string, total uint64, done string) *progress {
	if l.JSON || !isTerminal(s.stderr) {
		return &progress{stderr: s.stderr}
	}
	return newProgress(s.stderr, things, total, done)
}

func newProgress(w io.Writer, things string, total uint64, done string) *progress {
	// At its maximum the bar would end and leave a line: stop one before.
	number, most := int64(-1), uint64(math.MaxInt64)
	if total > 0 {
		number, most = int64(min(total, math.MaxInt64)), total-1
	}
	bar := progressbar.NewOptions64(number,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(done),
		progressbar.OptionSetItsString(things),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine that draws
		progressbar.OptionUseANSICodes(true),
	)
	return &progress{w, bar, most}
}

// set updates the number of events done.
func (p *progress) set(n uint64) {
	if p.bar != nil {
		_ = p.bar.Set64(int64(min(n, p.most)))
	}
}

// finish removes the bar. It can be called again.
func (p *progress) finish() {
	if p.bar == nil {
		return
	}
	_ = p.bar.Clear()
	p.bar = nil
}

// follow polls count for the number of events done, until stop is called.
func (p *progress) follow(count func() uint64) (stop func()) {
	if p.bar == nil {
		return func() {}
	}
	end := every(100*time.Millisecond, func() { p.set(count()) })
	return func() {
		end()
		p.finish()
	}
}

// every calls do at an interval, until stop is called.
func every(interval time.Duration, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		ended.Wait()
	}
}

// followLong is follow for what can take hours, and whose total can change. Where there is
// no bar it prints line from time to time: the log of a job shows that it goes on.
func (p *progress) followLong(line func() string, count func() (done, total uint64)) (stop func()) {
	if p.bar == nil {
		return every(lineInterval, func() { fmt.Fprintln(p.stderr, line()) })
	}
	return p.follow(func() uint64 {
		done, total := count()
		if total > 0 && uint64(p.bar.GetMax64()) != total {
			p.bar.ChangeMax64(int64(min(total, math.MaxInt64)))
			p.most = total - 1
		}
		return done
	})
}

// logger returns a logger that clears the bar before each line; the bar is redrawn below.
func (p *progress) logger(logger *slog.Logger) *slog.Logger {
	if p.bar == nil {
		return logger
	}
	return slog.New(&clearing{logger.Handler(), p.bar.Clear})
}

type clearing struct {
	slog.Handler
	clear func() error
}

// Handle implements slog.Handler.
func (h *clearing) Handle(ctx context.Context, r slog.Record) error {
	_ = h.clear()
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *clearing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &clearing{h.Handler.WithAttrs(attrs), h.clear}
}

// WithGroup implements slog.Handler.
func (h *clearing) WithGroup(name string) slog.Handler {
	return &clearing{h.Handler.WithGroup(name), h.clear}
}
