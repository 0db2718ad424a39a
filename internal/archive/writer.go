package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Compressed tells whether an archive of this name is to be compressed.
func Compressed(name string) bool { return strings.HasSuffix(name, ".zst") }

// Writer writes an archive.
type Writer struct {
	Events uint64 // written
	Bytes  uint64 // of those, as they are on the disk; whole after Close

	buffer *bufio.Writer
	zstd   *zstd.Encoder // nil when it is not compressed
	w      io.Writer
}

// NewWriter begins an archive on w, which stays the caller's.
func NewWriter(w io.Writer, compress bool) (*Writer, error) {
	a := &Writer{w: w}
	out := io.Writer(counter{a})
	if compress {
		var err error
		if a.zstd, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1)); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		out = a.zstd
	}
	a.buffer = bufio.NewWriterSize(out, 64<<10)
	return a, nil
}

// Write adds an event.
func (a *Writer) Write(r *Record) error {
	text, err := encode(r)
	if err != nil {
		return err
	}
	if _, err := a.buffer.Write(text); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	a.Events++
	return nil
}

// Close ends the archive. Without it, it is cut off.
func (a *Writer) Close() error {
	err := a.buffer.Flush()
	if a.zstd != nil {
		err = errors.Join(err, a.zstd.Close())
	}
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// counter counts what is really written.
type counter struct{ *Writer }

func (c counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.Bytes += uint64(n)
	return n, err
}
