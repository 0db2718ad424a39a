package cli

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a progress bar on a terminal. Elsewhere, and with --json, it does nothing.
type progress struct {
	bar  *progressbar.ProgressBar // nil when nothing is shown
	most uint64                   // limit of set
}

// progress starts a bar for total events, 0 when the number is unknown; done is a word
// such as "replayed". Call finish before anything else is printed.
func (l *local) progress(s *session, total uint64, done string) *progress {
	if l.JSON || !isTerminal(s.stderr) {
		return &progress{}
	}
	// At its maximum the bar would end and leave a line: stop one before.
	number, most := int64(-1), uint64(math.MaxInt64)
	if total > 0 {
		number, most = int64(min(total, math.MaxInt64)), total-1
	}
	bar := progressbar.NewOptions64(number,
		progressbar.OptionSetWriter(s.stderr),
		progressbar.OptionSetDescription(done),
		progressbar.OptionSetItsString("events"),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine that draws
		progressbar.OptionUseANSICodes(true),
	)
	return &progress{bar, most}
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
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.set(count())
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		ended.Wait()
		p.finish()
	}
}

// followTotal is follow where the total can change.
func (p *progress) followTotal(count func() (done, total uint64)) (stop func()) {
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
