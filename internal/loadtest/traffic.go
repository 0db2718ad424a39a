package loadtest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/tail"
)

// A traffic makes the events of one run.
type traffic struct {
	run        string    // random, in every id
	begin      time.Time // of the run
	people     uint64    // 0: probes
	instanceID string
	pad        string

	mark atomic.Int64 // the last interval in which an event was marked, counted from begin
}

// markEvery is the time for which one event is marked: the feed shows it, and its lag counts.
// So the sample is even, whatever happens to the rate.
const markEvery = 10 * time.Millisecond

// newTraffic makes the traffic of a run with bodies of a size, or the least size that is
// possible.
func newTraffic(o *Options) *traffic {
	t := &traffic{run: strings.ToLower(rand.Text()[:12]), begin: time.Now(), people: uint64(o.People), instanceID: o.InstanceID}
	missing := o.BodySize - len(t.body(0, t.begin))
	t.pad = string(bytes.Repeat([]byte("lorem ipsum "), max(missing, 0)/12+1)[:max(missing, 0)])
	return t
}

// event returns the svix-id and the body of the n-th event. The id says when the event was
// due, which measures the lag when a worker names it.
func (t *traffic) event(n uint64, due time.Time) (id string, body []byte) {
	after := due.Sub(t.begin)
	id = fmt.Sprintf("%s%s_%d", t.prefix(), strconv.FormatInt(after.Microseconds(), 36), n)
	if now, last := int64(after/markEvery)+1, t.mark.Load(); now > last && t.mark.CompareAndSwap(last, now) {
		id += tail.Marked
	}
	return id, t.body(n, due)
}

func (t *traffic) prefix() string { return "load_" + t.run + "_" }

// dueAt returns when the event with a svix-id was due, and whether it is marked. It reports
// false for an event of somebody else.
func (t *traffic) dueAt(id string) (due time.Time, marked, ours bool) {
	rest, ours := strings.CutPrefix(id, t.prefix())
	offset, _, _ := strings.Cut(rest, "_")
	micros, err := strconv.ParseInt(offset, 36, 64)
	return t.begin.Add(time.Duration(micros) * time.Microsecond), strings.HasSuffix(id, tail.Marked), ours && err == nil
}

// body returns the body of the n-th event: a probe, or an event of the person whose turn it
// is. All probes of load tests name one entity, as those of [clerk.ProbeBody] name another.
func (t *traffic) body(n uint64, at time.Time) []byte {
	if t.people == 0 {
		return fmt.Appendf(nil, `{"object":"event","type":%q,"timestamp":%d,"data":{"object":"probe","id":"loadtest","pad":%q}}`, clerk.ProbeType, at.UnixMilli(), t.pad)
	}
	person, eventType := n%t.people, "user.updated"
	if n < t.people {
		eventType = "user.created"
	}
	return fmt.Appendf(nil, `{"data":{"banned":false,"created_at":%d,"email_addresses":[{"email_address":"%s-%d@loadtest.invalid","id":"idn_loadtest","object":"email_address","verification":{"status":"verified","strategy":"email_code"}}],`+
		`"external_id":null,"first_name":"Load","id":%q,"image_url":"","last_name":"Test %d","last_sign_in_at":null,"locked":false,"object":"user","phone_numbers":[],"primary_email_address_id":"idn_loadtest",`+
		`"private_metadata":{"pad":%q},"public_metadata":{},"unsafe_metadata":{},"updated_at":%d,"username":null},"instance_id":%q,"object":"event","timestamp":%d,"type":%q}`,
		t.begin.UnixMilli(), t.run, person, t.userID(person), person, t.pad, at.UnixMilli(), t.instanceID, at.UnixMilli(), eventType)
}

// userID returns the id of a made-up person. Clerk's have no second underscore.
func (t *traffic) userID(person uint64) string {
	return fmt.Sprintf("user_loadtest_%s_%d", t.run, person)
}

// deletion returns the event that deletes a person.
func (t *traffic) deletion(person uint64, at time.Time) (id string, body []byte) {
	return fmt.Sprintf("loadend_%s_%d", t.run, person),
		fmt.Appendf(nil, `{"data":{"deleted":true,"id":%q,"object":"user"},"instance_id":%q,"object":"event","timestamp":%d,"type":"user.deleted"}`,
			t.userID(person), t.instanceID, at.UnixMilli())
}
