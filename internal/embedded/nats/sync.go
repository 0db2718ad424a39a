package nats

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sync forces what a stream has acknowledged onto the disk: one fsync for however
// much that is.
//
// The server can write every message with fsync by itself (sync_always), but then
// each costs one, and its atomic batches, which share one, cost the making of a
// folder with files in it. So it is left to write without, which it does before
// it acknowledges, and the fsync is ours, once for all that was acknowledged
// since the last. That the files are where this looks for them is tested, on the
// server that is linked in.
//
// After an error nothing is certain: the system may have dropped what it could
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

// streamFiles are the files of a stream: messages are appended to the block with
// the highest number, of msgs/<number>.blk.
type streamFiles struct {
	dir string

	mu     sync.Mutex
	last   int       // number of the block that was the last at the latest look
	looked time.Time // modification time of the folder then
	sure   bool      // a block that was made since would show in it

	testOnlySyncing func(block string) // called before a block is synced
}

// settled is the age from which on a modification time is trusted: one more
// change within the tick of the clock would not show.
const settled = time.Second

func (f *streamFiles) sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	msgs := filepath.Join(f.dir, "msgs")
	info, err := os.Stat(msgs)
	if err != nil {
		return err
	}
	if f.sure && info.ModTime().Equal(f.looked) {
		err := f.syncBlock(f.last)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.look(msgs, info.ModTime())
}

// look finds out which blocks there are, and syncs those that may have changed:
// at the first time all files of the stream, later the last block and those after it.
func (f *streamFiles) look(msgs string, modified time.Time) error {
	if f.last == 0 {
		if err := syncTree(f.dir); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(msgs)
	if err != nil {
		return err
	}
	last := 0
	for _, e := range entries {
		number, isBlock := strings.CutSuffix(e.Name(), ".blk")
		n, err := strconv.Atoi(number)
		if !isBlock || err != nil {
			continue
		}
		last = max(last, n)
		if n >= f.last {
			// A block that is gone has nothing in it any more.
			if err := f.syncBlock(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := syncPath(msgs); err != nil {
		return err
	}
	f.last, f.looked, f.sure = last, modified, time.Since(modified) > settled
	return nil
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

// syncTree syncs everything below dir, and the way to it.
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

// syncPath forces a file or a folder onto the disk, whoever wrote it.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
