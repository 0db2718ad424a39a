package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

var (
	errNotConfirmed = withHint(errors.New("not confirmed: nothing was done"), "--yes does it without asking")
	errNotAnswered  = errors.New("stopped: nothing was done")
)

// confirm asks on standard error and reads the answer from standard input.
func (s *session) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(s.stderr, "%s [y/N] ", question)
	type line struct {
		text string
		err  error
	}
	answered := make(chan line, 1)
	go func() { // a read from a terminal cannot be cancelled; it ends with the process
		text, err := bufio.NewReader(s.stdin).ReadString('\n')
		answered <- line{text, err}
	}()
	select {
	case answer := <-answered:
		if answer.err != nil {
			fmt.Fprintln(s.stderr) // no newline was typed
		}
		switch strings.ToLower(strings.TrimSpace(answer.text)) {
		case "y", "yes":
			return nil
		}
		return errNotConfirmed
	case <-s.ctx.Done():
		fmt.Fprintln(s.stderr)
		return errNotAnswered
	}
}
