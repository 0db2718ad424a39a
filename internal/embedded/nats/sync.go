package nats

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sync forces what a stream has acknowledged onto the disk, with one fsync.
//
// The server's own way (sync_always) costs one fsync for each message, and its atomic
// batches, which share one, cost a new folder with files. So the server writes without
// fsync, before it acknowledges, and Sync does one for everything acknowledged since the
// last. Tests check that the linked server keeps its files where Sync expects them.
//
// After an error nothing is certain: the operating system may have dropped what it could
// not write.
func (n *Server) Sync(stream string) error {
	n.mu.Lock()
	files, ok := n.streams[stream]
	if !ok {
		files = &streamFiles{dir: filepath.Join(n.dir, "jetstream", "$G", "streams", stream)}
		n.streams[stream] = files
	}
	n.mu.Unlock()
	if err := files.sync(); err != nil {
		return fmt.Errorf("sync stream %s: %w", stream, err)
	}
	return nil
}

// streamFiles are the files of a stream. Messages are appended to the block with the
// highest number, msgs/<number>.blk.
type streamFiles struct {
	dir string

	mu       sync.Mutex
	last     int         // number of the last block, when the folder was last read
	first    os.FileInfo // of the first block then
	modified time.Time   // modification time of the folder then
	certain  bool        // a block created or replaced since would change it

	testOnlySyncing func(block string) // called before a block is synced
}

// settled reports whether a modification time is so old that a later change would have
// another: file systems take it from a clock that ticks every 10 ms or less, and some keep
// whole seconds only.
func settled(modified time.Time) bool {
	tick := 50 * time.Millisecond
	if modified.Nanosecond() == 0 {
		tick += time.Second
	}
	return time.Since(modified) > tick
}

// sync forces what the stream's files have onto the disk. Usually that is one fsync, of the
// last block: the disk flushes its cache at each, changed or not.
func (f *streamFiles) sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	msgs := filepath.Join(f.dir, "msgs")
	info, err := os.Stat(msgs)
	if err != nil {
		return err
	}
	// The next block is looked for by its name too: the time of the folder may be by a clock
	// that is behind ours, as that of a file server.
	_, next := os.Stat(f.block(f.last + 1))
	if f.certain && info.ModTime().Equal(f.modified) && errors.Is(next, fs.ErrNotExist) {
		err := f.syncBlock(f.last)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.syncBlocks(msgs, info.ModTime())
}

// syncBlocks reads which blocks there are, and syncs those that may have changed: the
// first time all files of the stream, later the last block and those after it, and the
// first one if a purge has written what was left of it into a new file.
func (f *streamFiles) syncBlocks(msgs string, modified time.Time) error {
	if f.last == 0 {
		if err := syncTree(f.dir); err != nil {
			return err
		}
	}
	certain := settled(modified) // before the folder is read, however long the disk takes then
	entries, err := os.ReadDir(msgs)
	if err != nil {
		return err
	}
	first, last := math.MaxInt, 0
	for _, e := range entries {
		number, isBlock := strings.CutSuffix(e.Name(), ".blk")
		n, err := strconv.Atoi(number)
		if !isBlock || err != nil {
			continue
		}
		first, last = min(first, n), max(last, n)
		if n >= f.last {
			// A block is deleted when nothing is left in it.
			if err := f.syncBlock(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	info, err := os.Stat(f.block(first))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	replaced := !same(f.first, info)
	if replaced && first < max(f.last, last) { // maybe after it was synced above
		if err := f.syncBlock(first); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if replaced || last != f.last {
		if err := syncPath(msgs); err != nil {
			return err
		}
	}
	f.first, f.last, f.modified, f.certain = info, last, modified, certain
	return nil
}

// same reports whether a file that is not written to any more is as it was.
func same(was, is os.FileInfo) bool {
	return was != nil && is != nil && os.SameFile(was, is) &&
		was.Size() == is.Size() && was.ModTime().Equal(is.ModTime()) && settled(is.ModTime())
}

func (f *streamFiles) syncBlock(n int) error {
	if f.testOnlySyncing != nil {
		f.testOnlySyncing(f.block(n))
	}
	return syncPath(f.block(n))
}

func (f *streamFiles) block(n int) string {
	return filepath.Join(f.dir, "msgs", strconv.Itoa(n)+".blk")
}

// syncTree syncs everything below dir, and the folders above it up to the data folder.
func syncTree(dir string) error {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = syncPath(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	for range 4 { // streams, account, jetstream, data folder
		dir = filepath.Dir(dir)
		err = errors.Join(err, syncPath(dir))
	}
	return err
}

// syncPath forces a file or a folder onto the disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
