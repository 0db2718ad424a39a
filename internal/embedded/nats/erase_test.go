//go:build linux || darwin

package nats

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// erasing is a stream whose messages are to be erased: about 130 of them fill a block.
type erasing struct {
	*testing.T
	dir    string
	server *Server
	js     jetstream.JetStream
	stream jetstream.Stream
	last   int
}

func newErasing(t *testing.T, config jetstream.StreamConfig) *erasing {
	t.Helper()
	e := &erasing{T: t, dir: t.TempDir()}
	e.start(e.dir)
	_, err := e.js.CreateStream(t.Context(), config)
	require.NoError(t, err)
	e.start(e.dir)
	return e
}

// start starts a server on a folder, after the present one is stopped.
func (e *erasing) start(dir string) {
	e.Helper()
	if e.server != nil {
		e.server.Stop()
	}
	e.dir, e.server = dir, startNATS(e.T, Options{Dir: dir})
	_, e.js = connectNATS(e.T, e.server)
	e.stream, _ = e.js.Stream(e.Context(), natsStream.Name) // none at first
}

func mark(seq int) []byte { return fmt.Appendf(nil, "<mark %d>", seq) }

// message is the message with a sequence, with headers or without.
func message(seq int) *nats.Msg {
	msg := nats.NewMsg("events." + strconv.Itoa(seq%7))
	if seq%2 == 0 {
		msg.Header.Set("Name", string(mark(seq)))
	}
	msg.Data = append(bytes.Repeat(mark(seq), 2), bytes.Repeat([]byte{byte(seq)}, 60<<10+seq%1000)...)
	return msg
}

func (e *erasing) publish(n int) {
	e.Helper()
	for range n {
		ack, err := e.js.PublishMsg(e.Context(), message(e.last+1))
		require.NoError(e, err)
		e.last++
		require.EqualValues(e, e.last, ack.Sequence)
	}
}

func (e *erasing) delete(seqs []uint64) error {
	for _, seq := range seqs {
		if err := e.stream.DeleteMsg(e.Context(), seq); err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return err
		}
	}
	return nil
}

// requireErased checks the files and the messages.
func (e *erasing) requireErased(seqs ...uint64) {
	e.Helper()
	gone := map[int]bool{}
	for _, seq := range seqs {
		gone[int(seq)] = true
	}
	require.NoError(e, filepath.WalkDir(e.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for rest := text; ; {
			_, after, found := bytes.Cut(rest, []byte("<mark "))
			if !found {
				return err
			}
			number, _, _ := bytes.Cut(after[:min(8, len(after))], []byte(">"))
			if seq, _ := strconv.Atoi(string(number)); gone[seq] {
				return fmt.Errorf("message %d is in %s", seq, path)
			}
			rest = after
		}
	}))
	info, err := e.stream.Info(e.Context())
	require.NoError(e, err)
	require.EqualValues(e, e.last-len(gone), info.State.Msgs)
	require.EqualValues(e, e.last, info.State.LastSeq)
	for seq := 1; seq <= e.last; seq++ {
		msg, err := e.stream.GetMsg(e.Context(), uint64(seq))
		if gone[seq] {
			require.ErrorIs(e, err, jetstream.ErrMsgNotFound)
			continue
		}
		require.NoError(e, err, seq)
		require.True(e, bytes.Equal(message(seq).Data, msg.Data), seq)
		require.Equal(e, message(seq).Header.Get("Name"), msg.Header.Get("Name"))
	}
	files, err := os.ReadDir(e.dir)
	require.NoError(e, err)
	require.Len(e, files, 1, "no journal is left")
}

func (e *erasing) copy() string {
	e.Helper()
	dir := filepath.Join(e.TempDir(), "copy")
	require.NoError(e, os.CopyFS(dir, os.DirFS(e.dir)))
	return dir
}

// TestErase: nothing is left of the messages in the files, and everything of the others,
// also when the server has to read all blocks at the next start.
func TestErase(t *testing.T) {
	t.Parallel()
	e := newErasing(t, natsStream)
	e.publish(420)
	erased := []uint64{1, 2, 60, 131, 132, 133, 400, 420}
	require.NoError(t, e.server.Erase(natsStream.Name, []uint64{400, 1, 60, 2, 132, 131, 133, 420, 60, 9999}, e.delete))
	e.requireErased(erased...)
	require.NoError(t, e.server.Erase(natsStream.Name, erased, e.delete), "a second time")
	e.requireErased(erased...)
	var more []uint64 // most of a block, which the server then writes anew, and a whole one
	for seq := uint64(135); seq < 385; seq++ {
		if seq%10 != 0 || seq > 260 {
			more = append(more, seq)
		}
	}
	require.NoError(t, e.server.Erase(natsStream.Name, more, e.delete))
	erased = append(erased, more...)
	e.requireErased(erased...)
	e.publish(3)
	e.requireErased(erased...)

	killed, rebuilt := e.copy(), e.copy()
	e.start(e.dir) // stopped cleanly
	e.requireErased(erased...)
	require.NoError(t, os.RemoveAll(filepath.Join(msgsDir(rebuilt, natsStream.Name), "index.db")))
	for _, dir := range []string{killed, rebuilt} {
		last := e.last
		e.start(dir)
		e.requireErased(erased...)
		e.publish(1)
		require.NoError(t, e.server.Erase(natsStream.Name, []uint64{uint64(e.last)}, e.delete))
		e.requireErased(append(erased, uint64(e.last))...)
		e.last = last
	}
}

// TestEraseWhileTheServerWrites and reads the same blocks.
func TestEraseWhileTheServerWrites(t *testing.T) {
	t.Parallel()
	e := newErasing(t, natsStream)
	e.publish(200)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for seq := 0; ; seq = (seq + 7) % 200 {
			select {
			case <-stop:
				return
			default:
				_, _ = e.stream.GetMsg(t.Context(), uint64(seq+1))
			}
		}
	})
	var erased []uint64
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var seqs []uint64
		for range 5 {
			seqs = append(seqs, 1+random.Uint64N(uint64(e.last)))
		}
		done := make(chan error)
		go func() { done <- e.server.Erase(natsStream.Name, seqs, e.delete) }()
		e.publish(5)
		require.NoError(t, <-done)
		erased = append(erased, seqs...)
	}
	close(stop)
	reader.Wait()
	e.requireErased(unique(erased)...)
	e.start(e.copy())
	e.requireErased(unique(erased)...)
}

func unique(seqs []uint64) []uint64 {
	seen := map[uint64]bool{}
	var all []uint64
	for _, seq := range seqs {
		if !seen[seq] {
			seen[seq], all = true, append(all, seq)
		}
	}
	return all
}

// TestKilledEraseIsFinished at the next start, or by the next one: before the messages
// were deleted, after it, and in the middle of a record.
func TestKilledEraseIsFinished(t *testing.T) {
	t.Parallel()
	e := newErasing(t, natsStream)
	e.publish(140)
	erased := []uint64{1, 3, 4, 100, 137, 140}
	killed := errors.New("killed")
	var before, after string
	require.ErrorIs(t, e.server.Erase(natsStream.Name, erased, func(seqs []uint64) error {
		before = e.copy()
		require.NoError(t, e.delete(seqs))
		after = e.copy()
		return killed
	}), killed)
	block := filepath.Join(msgsDir(after, natsStream.Name), "1.blk")
	content, err := os.ReadFile(block)
	require.NoError(t, err)
	dirs := []string{before, after}
	for _, n := range []int{4, 5, 12, 25, 4096} {
		e.dir = after
		dir := e.copy()
		f, err := os.OpenFile(filepath.Join(msgsDir(dir, natsStream.Name), "1.blk"), os.O_RDWR, 0)
		require.NoError(t, err)
		er := eraser{dir: msgsDir(dir, natsStream.Name), stream: natsStream.Name, seqs: erased}
		sum, err := er.summer(1)
		require.NoError(t, err)
		require.NoError(t, er.records(1, content, func(at int, record []byte) error {
			_, err := f.WriteAt(er.empty(record, sum)[:n], int64(at))
			return err
		}))
		require.NoError(t, f.Close())
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		last := e.last
		e.start(dir)
		e.publish(2)
		e.requireErased(erased...)
		e.last = last
	}
}

// TestFailedEraseIsFinished by the next one in the same process.
func TestFailedEraseIsFinished(t *testing.T) {
	t.Parallel()
	e := newErasing(t, natsStream)
	e.publish(20)
	failed := errors.New("failed")
	require.ErrorIs(t, e.server.Erase(natsStream.Name, []uint64{3, 4}, func([]uint64) error {
		require.NoError(t, e.delete([]uint64{3}))
		return failed
	}), failed)
	require.NoError(t, e.server.Erase(natsStream.Name, []uint64{9}, e.delete))
	e.requireErased(3, 4, 9)
}

// TestEraseRefusesAnotherForm, here that of a compressed stream, before it deletes.
func TestEraseRefusesAnotherForm(t *testing.T) {
	t.Parallel()
	compressed := natsStream
	compressed.Compression = jetstream.S2Compression
	e := newErasing(t, compressed)
	e.publish(150)
	require.Eventually(t, func() bool {
		block, err := os.ReadFile(filepath.Join(msgsDir(e.dir, natsStream.Name), "1.blk"))
		return err == nil && bytes.HasPrefix(block, []byte("cmp"))
	}, 20*time.Second, time.Millisecond)
	err := e.server.Erase(natsStream.Name, []uint64{3}, func([]uint64) error { return errors.New("it was called") })
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.True(t, strings.Contains(err.Error(), "unknown form"), err)
	e.requireErased()
}
