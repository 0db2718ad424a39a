//go:build linux || darwin

package postgres

import (
	"io"
	"os"
	"strings"
)

// maxLogSize is the size from which on a start truncates the log. A quiet server writes about a kilobyte per start.
const maxLogSize = 8 << 20

// serverLog is the file with the server's messages, over all its starts.
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

// since returns the text after the given size of the log, at most the last few kilobytes.
func (l *serverLog) since(size int64) string {
	end := l.size()
	start := max(size, end-4096, 0)
	text, _ := io.ReadAll(io.NewSectionReader(l.file, start, end-start)) // as much as can be read
	return string(text)
}

// tail returns the last lines for the end of an error's text.
func (l *serverLog) tail() string { return l.excerpt(0) }

// excerpt is like tail, for the text after the given size of the log.
func (l *serverLog) excerpt(size int64) string {
	lines := lastLines(l.since(size))
	if lines == "" {
		return "; its log is " + l.file.Name()
	}
	return "; the last lines of " + l.file.Name() + lines
}

// lastLines returns the last ten lines of a program's output, indented, for the end of an error's text.
func lastLines(output string) string {
	output = strings.TrimSpace(output)
	if output == "" {
		return ""
	}
	lines := strings.Split(output, "\n")
	return ":\n\t" + strings.Join(lines[max(0, len(lines)-10):], "\n\t")
}
