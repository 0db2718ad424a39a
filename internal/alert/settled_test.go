package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/lag"
)

// TestSettled: one letter is a reading every 10 s, and each alert is "offset in seconds,
// letter". i is in step; b, s and r are behind, stuck and refusing; S is stuck for another
// cause.
func TestSettled(t *testing.T) {
	t.Parallel()
	readings := map[rune]*lag.Reading{
		'i': {State: lag.InStep}, 'b': {State: lag.Behind, Cause: "catching_up"}, 'r': {State: "refusing", Cause: "secret"},
		's': {State: lag.Stuck, Cause: "no_worker"}, 'S': {State: lag.Stuck, Cause: "postgresql"},
	}
	for name, tc := range map[string]struct{ readings, alerts string }{
		"not a minute yet":            {"iiiiii", ""},
		"the first, once":             {"iiiiiiiiiiiiiiiiiiii", "60i"},
		"the first is bad":            {"ssssssssss", "60s"},
		"a change":                    {"iiiiiiissssssss", "60i 130s"},
		"and back":                    {"sssssssiiiiiiiiii", "60s 130i"},
		"gone within a minute":        {"iiiiiiissssssiiiiiiiii", "60i"},
		"back within a minute":        {"sssssssiiiiiisssssssss", "60s"},
		"another cause":               {"sssssssSSSSSSSSS", "60s 130S"},
		"bad ones share a minute":     {"iiiiiiisbsbrbrbrbrbrb", "60i 130r"},
		"the same one again in turn":  {"sssssssbbbsbbbsbbbsbbbs", "60s"},
		"in step needs its own":       {"iiiiiiissssssssbbbbiiiiiii", "60i 130s 250i"},
		"in step and bad in turn":     {"iiiiiiisssisssisssisssi", "60i"},
		"in step breaks their minute": {"iiiiiiissssissssss", "60i"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s settled
			var alerts []string
			start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			for i, letter := range tc.readings {
				at := time.Duration(i) * 10 * time.Second
				if s.due(readings[letter], start.Add(at)) {
					alerts = append(alerts, fmt.Sprintf("%.0f%c", at.Seconds(), letter))
				}
			}
			require.Equal(t, tc.alerts, strings.Join(alerts, " "))
		})
	}
}
