package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/units"
)

// checkLog checks the server, streams, consumer, workers and free space.
func checkLog(ctx context.Context, r *Report, o Options) {
	const streams, consumer, workers, room, clock = "streams", "consumer", "workers", "room", "event_log_clock"
	if o.Log == nil {
		r.Checks = append(r.Checks, *o.NoLog)
		r.unchecked("the event log was not reached", streams, consumer, workers, room, clock)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	i, err := o.Log.Inspect(ctx, o.Want)
	if err != nil {
		r.add("event_log", Failed, err.Error(), "check the NATS server's log")
		r.unchecked("the event log did not answer", streams, consumer, workers, room, clock)
		return
	}
	r.ok("event_log", fmt.Sprintf("NATS %s, %s stored", i.ServerVersion, units.Bytes(i.Bytes)))

	checkSettings(r, streams, "the streams are kept as they should be", i, func(d eventlog.Difference) bool { return d.Of != eventlog.ConsumerName })
	roll, err := lag.RollCall(o.Log)
	if err != nil {
		r.add(workers, Failed, err.Error(), "check the NATS server's log")
		roll = &lag.Roll{}
	}
	switch {
	case i.HasConsumer:
		checkSettings(r, consumer, "it delivers all events, until they are settled", i, func(d eventlog.Difference) bool { return d.Of == eventlog.ConsumerName })
	case len(roll.Workers) > 0:
		r.unchecked("the worker has not started to apply events yet", consumer)
	default:
		r.add(consumer, Warning, "no worker was ever started on this event log", "start one: clerksync serve --role worker")
	}
	if err == nil {
		checkWorkers(r, roll.Workers)
	}
	checkRoom(r, i, roll.Receivers)
	checkClock(r, clock, "the NATS server", i.ClockOff)
}

// checkSettings checks the differences that ours selects.
func checkSettings(r *Report, name, fine string, i *eventlog.Inspection, ours func(eventlog.Difference) bool) {
	var seen []string
	status := Warning
	for _, d := range i.Differences {
		if !ours(d) {
			continue
		}
		seen = append(seen, d.String())
		if !d.Limit {
			status = Failed
		}
	}
	if len(seen) == 0 {
		r.ok(name, fine)
		return
	}
	r.add(name, status, strings.Join(seen, "; "), "restart clerksync serve, which restores its configuration, and find out what else changes it")
}

func checkWorkers(r *Report, workers []lag.Worker) {
	var names, failing []string
	for _, w := range workers {
		names = append(names, w.Name)
		if w.Failing != nil {
			failing = append(failing, fmt.Sprintf("%s has applied nothing since %s: %s", w.Name, w.Failing.Since.UTC().Format("2006-01-02T15:04:05Z"), w.Failing.Reason))
		}
	}
	switch {
	case len(workers) == 0:
		r.add("workers", Failed, "no worker answers: events are stored and not applied", "start one: clerksync serve --role worker")
	case len(failing) > 0:
		r.add("workers", Failed, strings.Join(failing, "; "), "check PostgreSQL; the worker retries without end and recovers by itself")
	default:
		r.ok("workers", fmt.Sprintf("%d at work: %s", len(workers), strings.Join(names, ", ")))
	}
}

const (
	// fullFrom is the share of a limit above which a warning is due.
	fullFrom = 0.8

	// leastRoom is the free space below which a disk is nearly full.
	leastRoom = 1 << 30
)

func checkRoom(r *Report, i *eventlog.Inspection, receivers []lag.Receiver) {
	const fix = "raise CLERKSYNC_LOG_MAX_BYTES, or lower CLERKSYNC_LOG_MAX_AGE"
	nearly := func(used, most uint64) bool { return most > 0 && float64(used) >= fullFrom*float64(most) }
	var disk *lag.Disk // of an embedded event log
	for _, d := range receivers {
		if d.Disk != nil {
			disk = d.Disk
		}
	}
	switch {
	case i.MaxBytes > 0 && i.Bytes >= i.MaxBytes:
		r.add("room", Failed, "the event log is full: it has "+units.Bytes(i.Bytes)+" of "+units.Bytes(i.MaxBytes), fix)
	case nearly(i.Bytes, i.MaxBytes):
		r.add("room", Warning, "the event log is nearly full: it has "+units.Bytes(i.Bytes)+" of "+units.Bytes(i.MaxBytes), fix)
	case nearly(i.Used, i.Storage):
		r.add("room", Warning, "the NATS account stores "+units.Bytes(i.Used)+" of "+units.Bytes(i.Storage), "let it store more, or lower CLERKSYNC_LOG_MAX_AGE")
	case disk != nil && disk.Free < disk.Reserve:
		r.add("room", Failed, "the disk of the event log has "+units.Bytes(disk.Free)+" free: every delivery is refused", "make room on the disk of CLERKSYNC_DATA_DIR; it recovers by itself")
	case disk != nil && disk.Free < leastRoom:
		r.add("room", Warning, "the disk of the event log has "+units.Bytes(disk.Free)+" free: below "+units.Bytes(disk.Reserve)+" every delivery is refused", "make room, or set CLERKSYNC_LOG_MAX_BYTES")
	default:
		r.ok("room", "there is room for more events")
	}
}
