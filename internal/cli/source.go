package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// source is a file to import.
type source struct {
	io.Reader
	file *os.File // nil for a pipe, which is read once
	name string   // in messages
}

// Close closes the file.
func (f source) Close() {
	if f.file != nil {
		f.file.Close()
	} else if c, ok := f.Reader.(io.Closer); ok {
		c.Close()
	}
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

func (s *session) openSource(name string) (source, error) {
	if name == "-" {
		const shown = "standard input"
		if f, ok := s.stdin.(*os.File); ok {
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				return source{f, f, shown}, nil
			}
		}
		return source{contextReader{s.ctx, io.NopCloser(s.stdin)}, nil, shown}, nil
	}
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
		return source{f, f, name}, nil
	}
	return source{contextReader{s.ctx, f}, nil, name}, nil
}

// contextReader stops between two reads when its context is done.
type contextReader struct {
	ctx context.Context
	io.ReadCloser
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}
