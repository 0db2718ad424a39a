package nats

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// A block is a sequence of records: a header (length, sequence, time, length of the
// subject), the content, and a checksum.
const (
	recordHeader  = 22
	recordSum     = 8
	recordMin     = recordHeader + recordSum
	lengthHeaders = 1 << 31 // bit of the length: the message has headers
	seqErased     = 1 << 63 // bit of the sequence: nothing is left of the message
	seqTombstone  = 1 << 62 // bit of the sequence: a note that a message was deleted
)

// errUnknownForm means that a block is not in the form of the linked nats-server.
var errUnknownForm = fmt.Errorf("the files of the stream are in an unknown form: %w", errors.ErrUnsupported)

// Erase deletes messages and overwrites them in the files of a stream. It calls remove
// to delete them on the server, without overwriting; it is no error when some are gone
// already. The error is [errors.ErrUnsupported], before anything was deleted, when the
// files are in an unknown form.
//
// The server's own secure delete writes a block of 8 MB anew for each message, so that a
// thousand of them take seconds to minutes. Erase writes only the records, in the form in
// which the server leaves them, once they are deleted and the server does not read them
// any more.
//
// A record that is written in part has a wrong checksum, for which the server would drop
// the rest of its block at the next start. So a journal names the messages until they are
// overwritten, and [Start] finishes what it finds there before the server reads the files.
// remove is also called for what an interrupted call has left.
func (n *Server) Erase(stream string, seqs []uint64, remove func(seqs []uint64) error) error {
	n.erasing.Lock()
	defer n.erasing.Unlock()
	j := journal{n.dir}
	left, err := j.read(stream)
	if err != nil {
		return err
	}
	seqs = slices.Concat(left, seqs)
	slices.Sort(seqs)
	e := eraser{dir: msgsDir(n.dir, stream), stream: stream, seqs: slices.Compact(seqs)}
	if err := e.each(e.check); err != nil {
		return err
	}
	if err := j.write(stream, e.seqs); err != nil {
		return err
	}
	if err := remove(e.seqs); err != nil {
		return err
	}
	if err := e.each(e.overwrite); err != nil {
		return err
	}
	return j.remove(stream)
}

// finishErasing overwrites what the journal names, while no server runs.
func finishErasing(dir string) error {
	j := journal{dir}
	streams, err := j.streams()
	if err != nil {
		return err
	}
	for _, stream := range streams {
		seqs, err := j.read(stream)
		if err != nil {
			return err
		}
		e := eraser{dir: msgsDir(dir, stream), stream: stream, seqs: seqs}
		if err := e.each(e.overwrite); err != nil {
			return err
		}
		// The server's index may count messages that are overwritten now. Without it, the
		// server reads the blocks.
		if err := os.Remove(filepath.Join(e.dir, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := j.remove(stream); err != nil {
			return err
		}
	}
	return nil
}

func msgsDir(dir, stream string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", stream, "msgs")
}

// journal keeps the sequences of the messages that are being erased, in a file for each
// stream.
type journal struct{ dir string }

const journalSuffix = ".erasing"

func (j journal) file(stream string) string { return filepath.Join(j.dir, stream+journalSuffix) }

func (j journal) streams() ([]string, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var streams []string
	for _, entry := range entries {
		if stream, found := strings.CutSuffix(entry.Name(), journalSuffix); found {
			streams = append(streams, stream)
		}
	}
	return streams, nil
}

func (j journal) read(stream string) ([]uint64, error) {
	text, err := os.ReadFile(j.file(stream))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var seqs []uint64
	if err == nil {
		err = json.Unmarshal(text, &seqs)
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of erasures: %w", err)
	}
	return seqs, nil
}

func (j journal) write(stream string, seqs []uint64) error {
	text, err := json.Marshal(seqs)
	if err != nil {
		return err
	}
	tmp := j.file(stream) + ".tmp"
	if err = os.WriteFile(tmp, text, 0o600); err == nil {
		err = syncPath(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, j.file(stream))
	}
	if err == nil {
		err = syncPath(j.dir)
	}
	if err != nil {
		return fmt.Errorf("write the journal of erasures: %w", err)
	}
	return nil
}

func (j journal) remove(stream string) error {
	if err := os.Remove(j.file(stream)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the journal of erasures: %w", err)
	}
	return nil
}

// eraser overwrites messages in the blocks of a stream.
type eraser struct {
	dir, stream string
	seqs        []uint64 // in ascending order
	last        int      // number of the last block, to which the server appends
}

// each calls f for every block that can hold one of the messages.
func (e *eraser) each(f func(number int) error) error {
	entries, err := os.ReadDir(e.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var numbers []int
	for _, entry := range entries {
		number, isBlock := strings.CutSuffix(entry.Name(), ".blk")
		if n, err := strconv.Atoi(number); isBlock && err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	slices.Sort(numbers)
	e.last = numbers[len(numbers)-1]
	// Messages are stored in ascending order. The blocks are visited from the last on: each
	// ends before the first message of the next one.
	rest := e.seqs
	for _, n := range slices.Backward(numbers) {
		if len(rest) == 0 {
			return nil
		}
		first, err := e.first(n)
		if err != nil {
			return err
		}
		from, _ := slices.BinarySearch(rest, first)
		if from == len(rest) {
			continue
		}
		if err := f(n); err != nil && !errors.Is(err, fs.ErrNotExist) { // a block with no message left is deleted
			return fmt.Errorf("erase in block %d of stream %s: %w", n, e.stream, err)
		}
		rest = rest[:from]
	}
	return nil
}

func (e *eraser) file(number int) string {
	return filepath.Join(e.dir, strconv.Itoa(number)+".blk")
}

// first returns the sequence of the first message in a block, and the greatest number
// when it has none.
func (e *eraser) first(number int) (uint64, error) {
	f, err := os.Open(e.file(number))
	if errors.Is(err, fs.ErrNotExist) {
		return ^uint64(0), nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var head [recordHeader]byte
	for at := int64(0); ; {
		if n, _ := f.ReadAt(head[:], at); n < len(head) {
			return ^uint64(0), nil
		}
		length := int64(binary.LittleEndian.Uint32(head[:]) &^ lengthHeaders)
		if length < recordMin || at+length > info.Size() && number != e.last {
			return 0, errUnknownForm
		}
		if seq := binary.LittleEndian.Uint64(head[4:]); seq&seqTombstone == 0 {
			return seq &^ seqErased, nil
		}
		at += length
	}
}

// check returns [errUnknownForm] unless all messages to erase in a block are understood.
func (e *eraser) check(number int) error {
	block, err := os.ReadFile(e.file(number))
	if err != nil {
		return err
	}
	sum, err := e.summer(number)
	if err != nil {
		return err
	}
	return e.records(number, block, func(_ int, record []byte) error {
		if !bytes.Equal(sum(record), record[len(record)-recordSum:]) {
			return errUnknownForm
		}
		return nil
	})
}

// overwrite overwrites the messages to erase in a block.
func (e *eraser) overwrite(number int) error {
	sum, err := e.summer(number)
	if err != nil {
		return err
	}
	for {
		f, err := os.OpenFile(e.file(number), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		same, err := e.overwriteFile(number, f, sum)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil || same {
			return err
		}
	}
}

// overwriteFile reports whether the file was the block all the time: the server replaces
// a block that has become sparse by a new file.
func (e *eraser) overwriteFile(number int, f *os.File, sum func([]byte) []byte) (bool, error) {
	before, err := f.Stat()
	if err != nil {
		return false, err
	}
	block := make([]byte, before.Size())
	if _, err := io.ReadFull(f, block); err != nil {
		return false, err
	}
	err = e.records(number, block, func(at int, record []byte) error {
		_, err := f.WriteAt(e.empty(record, sum), int64(at))
		return err
	})
	if err != nil {
		return false, err
	}
	if err := f.Sync(); err != nil {
		return false, err
	}
	now, err := os.Stat(f.Name())
	if err != nil {
		return false, err
	}
	return os.SameFile(before, now), nil
}

// empty returns what is left of a record.
func (e *eraser) empty(record []byte, sum func([]byte) []byte) []byte {
	empty := make([]byte, len(record))
	binary.LittleEndian.PutUint32(empty, uint32(len(record)))
	binary.LittleEndian.PutUint64(empty[4:], binary.LittleEndian.Uint64(record[4:])|seqErased)
	copy(empty[len(empty)-recordSum:], sum(empty))
	return empty
}

// records calls f for the records of the messages to erase. It relies only on what is the
// same before, after, and in the middle of overwriting a record.
func (e *eraser) records(number int, block []byte, f func(at int, record []byte) error) error {
	for at := 0; at+recordHeader <= len(block); {
		length := int(binary.LittleEndian.Uint32(block[at:]) &^ lengthHeaders)
		if length < recordMin || at+length > len(block) && number != e.last {
			return errUnknownForm
		}
		if at+length > len(block) { // it is being appended
			return nil
		}
		seq := binary.LittleEndian.Uint64(block[at+4:])
		if seq&seqTombstone == 0 {
			if _, found := slices.BinarySearch(e.seqs, seq&^seqErased); found {
				if err := f(at, block[at:at+length]); err != nil {
					return err
				}
			}
		}
		at += length
	}
	return nil
}

// summer returns the function for the checksums of a block.
func (e *eraser) summer(number int) (func(record []byte) []byte, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", e.stream, number))
	hash, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return nil, err
	}
	return func(record []byte) []byte {
		hash.Reset()
		hash.Write(record[4:20]) // without the lengths
		content := record[recordHeader : len(record)-recordSum]
		if record[3]&(lengthHeaders>>24) != 0 { // nor that of the headers, behind the subject
			subject := min(int(binary.LittleEndian.Uint16(record[20:])), len(content))
			hash.Write(content[:subject])
			content = content[min(subject+4, len(content)):]
		}
		hash.Write(content)
		return hash.Sum(nil)
	}, nil
}
