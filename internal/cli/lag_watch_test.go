package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/lag"
)

func TestLagScreen(t *testing.T) {
	t.Parallel()
	screen := func() *lagScreen {
		m := &lagScreen{readings: []*lag.Reading{inStep(now)}, every: 2 * time.Second}
		m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
		return m
	}
	quits := func(cmd tea.Cmd) bool {
		if cmd == nil {
			return false
		}
		_, ok := cmd().(tea.QuitMsg)
		return ok
	}

	// A reading is drawn, and the next one is waited for.
	m := screen()
	m.next = func() (*lag.Reading, error) { return stuck(now.Add(time.Second)), nil }
	require.Contains(t, m.View().Content, "in step\n")
	require.Contains(t, m.View().Content, "\n12:00:00 UTC; every 2s; q ends")
	require.True(t, m.View().AltScreen)
	_, cmd := m.Update(m.Init()())
	require.Contains(t, m.View().Content, "stuck: PostgreSQL refuses connections")
	require.Contains(t, m.View().Content, "\n12:00:01 UTC; every 2s; q ends")
	require.Equal(t, stuck(now.Add(time.Second)), cmd())

	// It stays within bounds, however long it runs and however small it is.
	for range 2 * keptReadings {
		m.Update(inStep(now))
	}
	require.Len(t, m.readings, keptReadings)
	for width := 1; width < 200; width += 7 {
		for height := 1; height < 50; height += 3 {
			m.Update(tea.WindowSizeMsg{Width: width, Height: height})
			require.LessOrEqual(t, strings.Count(m.View().Content, "\n")+1, max(height, 2), "%d×%d", width, height)
		}
	}

	// The keys that end it, and one that does not.
	m = screen()
	_, cmd = m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"})
	require.True(t, quits(cmd))
	_, cmd = m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
	require.True(t, quits(cmd))
	_, cmd = m.Update(tea.KeyPressMsg{Code: 'x', Text: "x"})
	require.False(t, quits(cmd))

	// What does not pass ends it as well.
	m.next = func() (*lag.Reading, error) { return nil, errors.New("no more") }
	_, cmd = m.Update(m.Init()())
	require.True(t, quits(cmd))
	require.EqualError(t, m.err, "no more")
}
