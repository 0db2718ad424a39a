package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Difference is a setting in JetStream that differs from ours.
type Difference struct {
	Of      string // the stream or the consumer
	Setting string // as JetStream's tools call it
	Is      string
	Want    string

	// Limit means that the setting bounds how much is kept, where, or for how long: a matter
	// of choice, while a difference in anything else can lose events or hold them up.
	Limit bool
}

func (d Difference) text() string {
	want := d.Want
	if want == "" {
		want = "none"
	}
	return fmt.Sprintf("%s is %s and should be %s", d.Setting, d.Is, want)
}

// String names the difference in a sentence.
func (d Difference) String() string { return d.Of + ": " + d.text() }

// Inspection describes the server's side of the log.
type Inspection struct {
	ServerVersion string
	Bytes         uint64
	MaxBytes      uint64 // 0: no limit but the disk
	Used, Storage uint64 // of all that the account may store; Storage 0: no limit
	HasConsumer   bool   // false: no worker was ever started

	ClockOff time.Duration // how far the server's clock is ahead of ours

	Differences []Difference
}

// Inspect compares the streams and the consumer with their configuration.
func (l *Log) Inspect(ctx context.Context, o Options) (*Inspection, error) {
	asked := time.Now()
	info, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return nil, err
	}
	answered := time.Now()
	i := &Inspection{
		ServerVersion: l.nc.ConnectedServerVersion(), Bytes: info.State.Bytes, MaxBytes: uint64(max(info.Config.MaxBytes, 0)),
		ClockOff: info.TimeStamp.Sub(asked.Add(answered.Sub(asked) / 2)),
	}
	account, err := l.accountInfo(ctx)
	if err != nil {
		return nil, err
	}
	i.Used, i.Storage = account.Store, uint64(max(account.Limits.MaxStore, 0))

	events, dead := streamConfigs(o.filled())
	i.Differences = compareStreams(info.Config, events)
	switch info, err := l.streamInfo(ctx, DeadStream); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		i.Differences = append(i.Differences, Difference{Of: DeadStream, Setting: "stream", Is: "missing", Want: "there"})
	case err != nil:
		return nil, err
	default:
		i.Differences = append(i.Differences, compareStreams(info.Config, dead)...)
	}
	consumer, err := l.consumerInfo(ctx)
	if err != nil {
		return nil, err
	}
	if consumer != nil {
		i.HasConsumer = true
		i.Differences = append(i.Differences, compareConsumers(consumer)...)
	}
	return i, nil
}

// differences collects the differences of one stream or consumer.
type differences struct {
	of  string
	all []Difference
}

func (d *differences) add(setting string, is, want any, limit bool) {
	if a, b := fmt.Sprint(is), fmt.Sprint(want); a != b {
		d.all = append(d.all, Difference{d.of, setting, a, b, limit})
	}
}

func compareStreams(is, want jetstream.StreamConfig) []Difference {
	d := &differences{of: want.Name}
	d.add("subjects", list(is.Subjects), list(want.Subjects), false)
	d.add("storage", is.Storage, want.Storage, false)
	d.add("retention", is.Retention, want.Retention, false)
	d.add("discard", is.Discard, want.Discard, false)
	d.add("duplicate window", is.Duplicates, want.Duplicates, true) // what is stored twice is applied once
	d.add("acknowledgements", !is.NoAck, true, false)
	d.add("sealed", is.Sealed, false, false)
	d.add("deny purge", is.DenyPurge, false, false) // erasure needs it
	d.add("deny delete", is.DenyDelete, false, false)
	d.add("max messages", unlimited(is.MaxMsgs), "no limit", false)
	d.add("max messages per subject", unlimited(is.MaxMsgsPerSubject), "no limit", false)
	d.add("max message size", unlimited(int64(is.MaxMsgSize)), "no limit", false)
	d.add("max consumers", unlimited(int64(is.MaxConsumers)), "no limit", false) // a scan is one or several
	d.add("replicas", is.Replicas, want.Replicas, true)
	if p := want.Placement; p != nil {
		if is.Placement == nil {
			is.Placement = &jetstream.Placement{}
		}
		d.add("placement cluster", is.Placement.Cluster, p.Cluster, true)
		d.add("placement tags", list(is.Placement.Tags), list(p.Tags), true)
	}
	// Age would drop events that are not applied. Of dead letters it is a choice.
	d.add("max age", age(is.MaxAge), age(want.MaxAge), is.Name == DeadStream)
	d.add("max bytes", unlimited(is.MaxBytes), unlimited(want.MaxBytes), true)
	return d.all
}

func compareConsumers(info *jetstream.ConsumerInfo) []Difference {
	is, want := info.Config, consumerConfig()
	d := &differences{of: ConsumerName}
	d.add("ack policy", is.AckPolicy, want.AckPolicy, false)
	d.add("ack wait", is.AckWait, want.AckWait, false)
	d.add("max deliver", unlimited(int64(is.MaxDeliver)), "no limit", false)
	d.add("max ack pending", is.MaxAckPending, want.MaxAckPending, false)
	d.add("paused", info.Paused, false, false)
	d.add("filter", strings.Join(slices.DeleteFunc(append([]string{is.FilterSubject}, is.FilterSubjects...), func(s string) bool { return s == "" }), " "), "", false)
	return d.all
}

// accept checks a stream or consumer that the NATS user may not change. A difference that
// can lose events or hold them up is a [*Refusal], another is logged.
func (l *Log) accept(of string, all []Difference, fix string) error {
	l.logger.Info("the NATS user may not change the " + of + ": it is checked only")
	var bad []string
	for _, d := range all {
		text := d.text()
		if d.Limit {
			l.logger.Warn("the "+of+" is not as the settings say", "difference", text)
		} else {
			bad = append(bad, text)
		}
	}
	if bad != nil {
		return &Refusal{fmt.Errorf("%s cannot be used as it is, and the NATS user may not change it: %s", of, strings.Join(bad, "; ")), "change it: " + fix}
	}
	return nil
}

// list joins the words of a setting.
func list(words []string) string { return strings.Join(words, " ") }

func age(d time.Duration) string {
	if d <= 0 {
		return "no limit"
	}
	return d.String()
}

func unlimited(n int64) string {
	if n <= 0 {
		return "no limit"
	}
	return fmt.Sprint(n)
}
