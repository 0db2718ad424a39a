package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// input is a file to import.
type input struct {
	io.Reader
	file *os.File // nil for a pipe, which is read once
	name string   // in messages
}

// Close closes the file.
func (f input) Close() {
	if f.file != nil {
		f.file.Close()
	} else if c, ok := f.Reader.(io.Closer); ok {
		c.Close()
	}
}

// openInputs opens the files. With an error, it returns the ones opened before.
func (s *session) openInputs(names []string) ([]input, error) {
	var all []input
	for _, name := range names {
		f, err := s.openInput(name)
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (s *session) openInput(name string) (input, error) {
	if name == "-" {
		const shown = "standard input"
		if f, ok := s.stdin.(*os.File); ok {
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				return input{f, f, shown}, nil
			}
		}
		return input{contextReader{s.ctx, io.NopCloser(s.stdin)}, nil, shown}, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return input{}, fmt.Errorf("no such file: %s", name)
	}
	if err != nil {
		return input{}, err
	}
	info, err := f.Stat()
	switch {
	case err != nil || info.IsDir():
		f.Close()
		return input{}, errors.Join(err, fmt.Errorf("%s is not an export of clerksync events export", name))
	case info.Mode().IsRegular():
		return input{f, f, name}, nil
	}
	return input{contextReader{s.ctx, f}, nil, name}, nil
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
