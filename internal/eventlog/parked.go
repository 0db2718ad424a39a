package eventlog

import "context"

// Parked returns the sequences in the log of the events that the last n dead letters of a
// filter are about, and whether these are all letters of the filter. It reads no bodies.
func (l *Log) Parked(ctx context.Context, f Filter, n int) (seqs map[uint64]bool, all bool, err error) {
	f.Last = n
	scan, err := l.scan(ctx, DeadStream, DeadSubject, []string{anyResource}, f, true)
	if err != nil {
		return nil, false, err
	}
	seqs, read := map[uint64]bool{}, 0
	err = scan.Each(ctx, func(m *Message) error {
		seqs[m.Letter().LogSeq] = true
		read++
		return nil
	})
	return seqs, read < n, err
}
