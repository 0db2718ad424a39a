package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Compressed reports whether an archive of this name is compressed.
func Compressed(name string) bool { return strings.HasSuffix(name, ".zst") }

// Writer writes an archive.
type Writer struct {
	Events uint64 // written
	Bytes  uint64 // written, after compression; complete after Close

	buffer *bufio.Writer
	zstd   *zstd.Encoder // nil when it is not compressed
	w      io.Writer
}

// NewWriter starts an archive on w, which Close does not close.
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

// Close completes the archive.
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

// counter counts the bytes that reach the underlying writer.
type counter struct{ *Writer }

func (c counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.Bytes += uint64(n)
	return n, err
}
