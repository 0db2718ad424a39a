package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/config"
)

const hidden = config.Secret("sk_live_hidden")

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	type holder struct {
		Name    string
		Secret  config.Secret
		Pointer *config.Secret
		Secrets []config.Secret
		Map     map[string]config.Secret
	}
	pointed := hidden
	held := holder{"name", hidden, &pointed, []config.Secret{hidden}, map[string]config.Secret{"key": hidden}}
	c := usable()
	c.Token, c.NATSURL = hidden, hidden

	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v", "%20s", "%-20v", "%.3s", "%t", "%!", "%"} {
		printed = append(printed,
			fmt.Sprintf(verb, hidden), fmt.Sprintf(verb, &pointed), fmt.Sprintf(verb, []config.Secret{hidden}),
			fmt.Sprintf(verb, held), fmt.Sprintf(verb, &held), fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c))
	}
	printed = append(printed, fmt.Sprint(hidden), fmt.Sprintln(held), hidden.String())

	for _, err := range []error{
		fmt.Errorf("open %s: %w", hidden, errors.ErrUnsupported),
		fmt.Errorf("open %v", held),
		errors.Join(fmt.Errorf("open %q", hidden), fmt.Errorf("open %d", hidden)),
	} {
		printed = append(printed, err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err.Error()))
	}

	for _, v := range []any{hidden, &pointed, held, &held, c, []config.Secret{hidden}} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		printed = append(printed, string(text))
		text, err = jsonv2.Marshal(v)
		printed = append(printed, string(text), fmt.Sprint(err)) // it does not take durations

		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			logger := slog.New(handler).With("given", v)
			logger.Info("message", "value", v, slog.Group("group", "value", v), "err", fmt.Errorf("open %v", v))
		}
		printed = append(printed, log.String())
	}

	for _, text := range printed {
		require.NotContains(t, text, "hidden")
		require.NotContains(t, text, "68696464656e") // in hexadecimal
		require.NotContains(t, text, "68696464656E")
	}
	require.Equal(t, "sk_live_hidden", hidden.Reveal())
}

func TestSecretSaysThatItIsThere(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[redacted]", hidden.String())
	require.Equal(t, "[redacted] [redacted] \"[redacted]\" \"[redacted]\"", fmt.Sprintf("%v %s %q %#v", hidden, hidden, hidden, hidden))
	require.Equal(t, "%!d(string=[redacted])", fmt.Sprintf("%d", hidden))
	text, err := json.Marshal(hidden)
	require.NoError(t, err)
	require.Equal(t, `"[redacted]"`, string(text))
	require.Equal(t, slog.StringValue("[redacted]"), hidden.LogValue())

	// Whether there is one at all is no secret.
	const none = config.Secret("")
	require.Equal(t, `||""`, fmt.Sprintf("%v|%s|%q", none, none, none))
}

func TestSecretWithoutWhatWasCopiedAlong(t *testing.T) {
	t.Parallel()
	var s config.Secret
	require.NoError(t, s.UnmarshalText([]byte(" \twhsec_abc= \r\n")))
	require.Equal(t, "whsec_abc=", s.Reveal())
}
