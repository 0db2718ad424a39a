package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// source is a file that can be read twice.
type source struct {
	*os.File
	name string // in messages
}

// openSources opens the files. With an error, it returns those that it opened before.
func (s *session) openSources(names []string) ([]source, error) {
	var all []source
	for _, name := range names {
		f, err := s.openSource(name)
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
	return all, nil
}

// openSource opens a file. A pipe is first copied into an unlinked temporary file, to be
// read twice.
func (s *session) openSource(name string) (source, error) {
	in := s.stdin
	shown := "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return source{}, fmt.Errorf("no such file: %s", name)
		}
		if err != nil {
			return source{}, err
		}
		info, err := f.Stat()
		switch {
		case err != nil || info.IsDir():
			f.Close()
			return source{}, errors.Join(err, fmt.Errorf("%s is not an export of clerksync events export", name))
		case info.Mode().IsRegular():
			return source{f, name}, nil
		}
		defer f.Close()
		in, shown = f, name
	}
	spool, err := os.CreateTemp("", "clerksync-import-") // 0600
	if err != nil {
		return source{}, fmt.Errorf("copy %s: %w", shown, err)
	}
	if err = os.Remove(spool.Name()); err == nil {
		_, err = io.Copy(spool, contextReader{s.ctx, in})
	}
	if err != nil {
		spool.Close()
		if s.ctx.Err() != nil {
			err = errStopped
		}
		return source{}, fmt.Errorf("copy %s: %w", shown, err)
	}
	return source{spool, shown}, nil
}

// contextReader stops between two reads when its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
