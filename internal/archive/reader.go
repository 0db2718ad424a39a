package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow limits the memory for unpacking, in bytes. It is the default limit of zstd.
const maxWindow = 128 << 20

// zstdMagic begins every zstd frame.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// ErrCutOff means that the end of an archive is missing.
var ErrCutOff = errors.New("the file is cut off")

// Reader reads an archive line by line.
type Reader struct {
	in   *bufio.Reader
	zstd *zstd.Decoder // nil when it is not compressed
	text []byte        // the current line
	line int
}

// NewReader returns a reader of an archive. It detects compression by content, not by name.
func NewReader(r io.Reader) (*Reader, error) {
	a := &Reader{in: bufio.NewReaderSize(r, 64<<10)}
	magic, err := a.in.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.Equal(magic, zstdMagic) {
		a.zstd, err = zstd.NewReader(a.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		a.in = bufio.NewReaderSize(a.zstd, 64<<10)
	}
	return a, nil
}

// Line returns the number of the last line read, from 1.
func (a *Reader) Line() int { return a.line }

// Read returns the next event, [io.EOF] after the last. Every other error names the line
// and is final.
func (a *Reader) Read() (*Record, error) {
	text, err := a.readLine()
	if err != nil {
		return nil, err
	}
	r, err := decode(bytes.TrimSuffix(text, []byte("\n")))
	if err != nil {
		if !bytes.HasSuffix(text, []byte("\n")) {
			return nil, a.cutOff()
		}
		return nil, fmt.Errorf("line %d: %w", a.line, err)
	}
	return r, nil
}

// readLine returns the next line, with its newline if it has one.
func (a *Reader) readLine() ([]byte, error) {
	a.text = a.text[:0]
	a.line++
	for {
		part, err := a.in.ReadSlice('\n')
		if len(a.text)+len(part) > MaxLine {
			return nil, fmt.Errorf("line %d: longer than 8 MiB", a.line)
		}
		a.text = append(a.text, part...)
		switch {
		case err == bufio.ErrBufferFull:
		case err == nil, err == io.EOF && len(a.text) > 0:
			return a.text, nil
		case err == io.EOF:
			a.line--
			return nil, io.EOF
		case a.zstd == nil:
			return nil, fmt.Errorf("line %d: %w", a.line, err)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, a.cutOff()
		default:
			return nil, fmt.Errorf("line %d: it cannot be unpacked: %w", a.line, err)
		}
	}
}

// cutOff returns ErrCutOff with the last complete line.
func (a *Reader) cutOff() error {
	if a.line == 1 {
		return fmt.Errorf("%w in line 1", ErrCutOff)
	}
	return fmt.Errorf("%w after line %d", ErrCutOff, a.line-1)
}

// Close frees the decompressor. It does not close the underlying reader.
func (a *Reader) Close() {
	if a.zstd != nil {
		a.zstd.Close()
	}
}
