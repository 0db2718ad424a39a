//go:build linux || darwin

package postgres

import (
	"io"
	"os"
	"strings"
)

// maxLogSize is from where on a start begins the log anew. A quiet server writes a kilobyte or so per start.
const maxLogSize = 8 << 20

// serverLog is the file that the server writes its messages to, over all its starts.
type serverLog struct{ file *os.File }

func openServerLog(path string) (*serverLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &serverLog{file}
	if l.size() > maxLogSize {
		if err := file.Truncate(0); err != nil {
			file.Close()
			return nil, err
		}
	}
	return l, nil
}

func (l *serverLog) size() int64 {
	info, err := l.file.Stat()
	if err != nil {
		return 0 // not for an open file
	}
	return info.Size()
}

// since returns what was written after the log had the given size, at most the last few kilobytes of it.
func (l *serverLog) since(size int64) string {
	end := l.size()
	start := max(size, end-4096, 0)
	text, _ := io.ReadAll(io.NewSectionReader(l.file, start, end-start)) // as far as it can be read
	return string(text)
}

// tail returns the last lines for the end of an error's text.
func (l *serverLog) tail() string { return l.excerpt(0) }

// excerpt is like tail, for what was written after the log had the given size.
func (l *serverLog) excerpt(size int64) string {
	lines := lastLines(l.since(size))
	if lines == "" {
		return "; its log is " + l.file.Name()
	}
	return "; the last lines of " + l.file.Name() + lines
}

// lastLines returns the last ten lines of a program's output, indented, to be put behind an error's text; nothing
// when there are none.
func lastLines(output string) string {
	output = strings.TrimSpace(output)
	if output == "" {
		return ""
	}
	lines := strings.Split(output, "\n")
	return ":\n\t" + strings.Join(lines[max(0, len(lines)-10):], "\n\t")
}
