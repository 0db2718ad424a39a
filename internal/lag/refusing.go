package lag

import (
	"fmt"

	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/units"
)

const (
	// least is how little room a log with a size limit may have left: Svix recommends
	// bodies of up to 40 KB, and a message that does not fit is refused.
	least = 64 << 10

	// nearlyFull is the share of a limit from which on there is a warning, and lowDisk the
	// free space below which there is one.
	nearlyFull = 0.8
	lowDisk    = 1 << 30
)

// refusing finds why deliveries are refused, or would be.
func (f *facts) refusing() (all []finding) {
	r := f.reading
	for _, d := range r.Receivers {
		if d.Disk != nil && d.Disk.Free < d.Disk.Reserve {
			text := fmt.Sprintf("the disk of the event log has %s free, and every delivery is refused below %s", units.Bytes(d.Disk.Free), units.Bytes(d.Disk.Reserve))
			all = append(all, finding{state: Refusing, cause: CauseDisk, text: text, fix: "make room on the disk of CLERKSYNC_DATA_DIR; it recovers by itself"})
		}
	}
	if log := r.EventLog; log.MaxBytes > 0 && log.Bytes+least > log.MaxBytes {
		text := fmt.Sprintf("the event log is full: %s of %s", units.Bytes(log.Bytes), units.Bytes(log.MaxBytes))
		all = append(all, finding{state: Refusing, cause: CauseLogFull, text: text, fix: fixLogFull})
	}
	for _, d := range r.Receivers {
		if d.Refused != nil {
			all = append(all, f.refused(d))
		}
	}
	if p := r.Probe; p != nil && !p.OK {
		all = append(all, finding{Refusing, CauseProbe, fmt.Sprintf("the probe stops at %s since %s: %s", p.StoppedAt, clock(p.Since, r.MeasuredAt), p.Cause), p.Fix, p.Since})
	}
	return append(all, f.wrongInstance()...)
}

// refused explains the refusals of one receiver.
func (f *facts) refused(d Receiver) finding {
	p := finding{state: Refusing, since: d.Refused.Since, fix: d.Refused.Fix}
	reason := ""
	switch d.Refused.Reason {
	case signing.BadSignature, signing.BadTimestamp, signing.NoHeaders:
		p.cause, reason = CauseSecret, "the signature does not fit CLERK_WEBHOOK_SIGNING_SECRET"
	case signing.TooOld, signing.TooNew:
		way, off := "ahead of", d.Refused.ClockOff
		if off < 0 {
			way, off = "behind", -off
		}
		p.cause, reason = CauseClock, fmt.Sprintf("the clock of %s is %s %s Svix's", d.Name, units.Seconds(off), way)
	case "unavailable":
		p.cause, reason = CauseUnavailable, "the event log did not take them"
	case "path":
		p.cause, reason = CauseRefused, "they came to a wrong path"
	default:
		p.cause, reason = CauseRefused, "the reason is "+d.Refused.Reason
	}
	n := d.Refused.Count
	many := fmt.Sprintf("%d of the last %d deliveries were refused", n, n)
	if n == 1 {
		many = "the last delivery was refused"
	}
	p.text = fmt.Sprintf("%s: %s, the last %s ago", many, reason, units.Since(d.Refused.LastAt, f.reading.MeasuredAt))
	return p
}

// wrongInstance finds that the last delivery was of another Clerk instance than ours. One
// of no instance is an example that was sent from Clerk's dashboard.
func (f *facts) wrongInstance() []finding {
	l := f.letter
	if l == nil || l.instance == "" {
		return nil
	}
	for _, d := range f.reading.Receivers {
		if d.InstanceID == "" || d.InstanceID == l.instance {
			continue
		}
		text := fmt.Sprintf("the last delivery was of Clerk instance %s and was parked: CLERK_INSTANCE_ID is %s", l.instance, d.InstanceID)
		return []finding{{
			Refusing, CauseWrongInstance, text,
			"correct CLERK_INSTANCE_ID and run clerksync dead retry --reason wrong_instance, or remove the endpoint from the other instance; discard an example that was sent from Clerk's dashboard", l.received,
		}}
	}
	return nil
}

// room warns before deliveries are refused.
func (f *facts) room() (all []finding) {
	r := f.reading
	for _, d := range r.Receivers {
		if d.Disk != nil && d.Disk.Free >= d.Disk.Reserve && d.Disk.Free < lowDisk {
			text := fmt.Sprintf("the disk of the event log has %s free; every delivery is refused below %s", units.Bytes(d.Disk.Free), units.Bytes(d.Disk.Reserve))
			all = append(all, finding{cause: CauseDisk, text: text, fix: "make room, or set CLERKSYNC_LOG_MAX_BYTES"})
		}
	}
	if log := r.EventLog; log.MaxBytes > 0 && log.Bytes+least <= log.MaxBytes && float64(log.Bytes) >= nearlyFull*float64(log.MaxBytes) {
		text := fmt.Sprintf("the event log is nearly full: %s of %s", units.Bytes(log.Bytes), units.Bytes(log.MaxBytes))
		all = append(all, finding{cause: CauseLogFull, text: text, fix: fixLogFull})
	}
	return all
}
