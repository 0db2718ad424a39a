package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// hinted is an error with the next step of the person who reads it. [report] prints the
// two on lines of their own; inside a longer text the message stands alone.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// withHint adds the next step to an error, if there is one.
func withHint(err error, format string, v ...any) error {
	if hint := fmt.Sprintf(format, v...); hint != "" {
		return &hinted{err, hint}
	}
	return err
}

// hintOf returns the next step that comes with an error, the outermost, or "".
func hintOf(err error) string {
	if e, ok := errors.AsType[*hinted](err); ok {
		return e.hint
	}
	return ""
}

// usageError is a call that cannot work, whatever the state of the world: exit status 2.
type usageError string

func (e usageError) Error() string { return string(e) }

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// report prints an error for people.
func report(w io.Writer, err error) {
	fmt.Fprintf(w, "clerksync: %v\n", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "  → %s\n", hint)
	}
}

// errStopped means that the user ended the command.
var errStopped = errors.New("stopped")

// readError returns the error of a read of the event log as the user sees it.
func readError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return errStopped
	case errors.Is(err, eventlog.ErrInterrupted):
		return withHint(err, "run it again")
	}
	return err
}

// helpFor names the help of the command that the parser had come to.
func helpFor(err error) string {
	command := "clerksync"
	if e, ok := errors.AsType[*kong.ParseError](err); ok && e.Context.Selected() != nil {
		command = e.Context.Selected().FullPath()
	}
	return command + " --help"
}
