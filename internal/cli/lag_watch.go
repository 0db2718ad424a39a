package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"

	"github.com/clerksync/clerksync/internal/lag"
)

// keptReadings limits the readings kept for the charts: more than a terminal has columns.
const keptReadings = 500

// watchLines prints a line for every reading until the user ends it.
func (c *lagCmd) watchLines(s *session, l *lagReader, r *lag.Reading) error {
	for {
		var err error
		if c.JSON {
			err = s.printJSONLine(r)
		} else {
			_, err = fmt.Fprintln(s.stdout, lagLine(r))
		}
		if err != nil {
			return err
		}
		if r, err = l.readAfter(s.ctx, c.Interval); err != nil {
			return unlessStopped(err)
		}
	}
}

// unlessStopped drops errStopped: to end --watch is no failure.
func unlessStopped(err error) error {
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// watchScreen is watchLines on a terminal. It does not wait for a reading in flight, which
// may hang on a server that does not answer.
func (c *lagCmd) watchScreen(s *session, l *lagReader, r *lag.Reading) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	if isTerminal(s.stderr) { // a log line would break the screen
		quiet := *s
		quiet.logger = slog.New(slog.DiscardHandler)
		l.s = &quiet
	}
	var keys io.Reader // nil without a keyboard
	if f, ok := s.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		keys = f
	}
	screen := &lagScreen{
		look: lookOf(s), every: c.Interval, readings: []*lag.Reading{r},
		next: func() (*lag.Reading, error) { return l.readAfter(ctx, c.Interval) },
	}
	_, err := tea.NewProgram(screen, tea.WithContext(ctx), tea.WithInput(keys), tea.WithOutput(s.stdout), tea.WithoutSignalHandler()).Run()
	if s.ctx.Err() != nil {
		return nil
	}
	return errors.Join(err, unlessStopped(screen.err))
}

// lagScreen is the model that bubbletea draws.
type lagScreen struct {
	look
	every    time.Duration
	readings []*lag.Reading
	next     func() (*lag.Reading, error)
	err      error // that ended the readings
}

// Init implements tea.Model.
func (m *lagScreen) Init() tea.Cmd { return m.read }

// read waits for the next reading.
func (m *lagScreen) read() tea.Msg {
	r, err := m.next()
	if err != nil {
		return watchEnded{err}
	}
	return r
}

// watchEnded ends the readings.
type watchEnded struct{ err error }

// Update implements tea.Model.
func (m *lagScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case *lag.Reading:
		m.readings = append(m.readings, msg)
		m.readings = m.readings[max(len(m.readings)-keptReadings, 0):]
		return m, m.read
	case watchEnded:
		m.err = msg.err
		return m, tea.Quit
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c":
			return m, tea.Quit
		}
	}
	return m, nil
}

// View implements tea.Model.
func (m *lagScreen) View() tea.View {
	body := m.look
	if body.height > 0 {
		body.height = max(m.height-1, 1)
	}
	footer := page{look: m.look}
	footer.line(faint, fmt.Sprintf("%s; every %s; q ends", m.readings[len(m.readings)-1].MeasuredAt.UTC().Format("15:04:05 UTC"), m.every))
	view := tea.NewView(strings.Join(append(lagLines(m.readings, body), footer.lines...), "\n"))
	view.AltScreen = true
	return view
}
