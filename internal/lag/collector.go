package lag

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// gauge is one series of a reading. value returns false when it is unknown; the series is
// then missing rather than 0.
type gauge struct {
	desc  *prometheus.Desc
	value func(*Reading) (float64, bool)
}

func newGauge(name, help string, value func(*Reading) (float64, bool)) gauge {
	return gauge{prometheus.NewDesc("clerksync_"+name, help, nil, nil), value}
}

func known(v float64) (float64, bool) { return v, true }

func truth(yes bool) (float64, bool) {
	if yes {
		return 1, true
	}
	return 0, true
}

func number[N uint64 | float64](n *N) (float64, bool) {
	if n == nil {
		return 0, false
	}
	return float64(*n), true
}

// Register registers the series of the meter. They are measured at each scrape: a gauge
// that is set elsewhere keeps its old value when the setter is gone.
func (m *Meter) Register(r prometheus.Registerer) {
	r.MustRegister(&collector{m, []gauge{
		newGauge("event_log_up", "1 when the event log can be read.", func(r *Reading) (float64, bool) { return truth(r.EventLog.OK) }),
		newGauge("event_log_events", "Events in the log.", func(r *Reading) (float64, bool) {
			return float64(r.EventLog.Events), r.EventLog.OK
		}),
		newGauge("event_log_bytes", "Size of the event log.", func(r *Reading) (float64, bool) {
			return float64(r.EventLog.Bytes), r.EventLog.OK
		}),
		newGauge("event_log_max_bytes", "Size at which the event log refuses events; 0 when only the disk limits it.", func(r *Reading) (float64, bool) {
			return float64(r.EventLog.MaxBytes), r.EventLog.OK
		}),
		newGauge("pending_events", "Events that are stored and not yet applied.", func(r *Reading) (float64, bool) { return number(r.Pending) }),
		newGauge("in_work_events", "Of the pending events, those that are delivered to a worker.", func(r *Reading) (float64, bool) { return number(r.InWork) }),
		newGauge("oldest_pending_age_seconds", "How long the oldest pending event has waited in the log; 0 when nothing waits.", func(r *Reading) (float64, bool) {
			return number(r.OldestPendingAge)
		}),
		newGauge("last_event_received_timestamp_seconds", "When the last event was received that Svix delivered, Unix time.", func(r *Reading) (float64, bool) {
			if r.LastEventReceivedAt == nil {
				return 0, false
			}
			return known(float64(r.LastEventReceivedAt.UnixMilli()) / 1000)
		}),
		newGauge("lost_events", "Events that left the log before they were applied, until that is acknowledged; missing when PostgreSQL is not asked.", func(r *Reading) (float64, bool) {
			if r.Lost != nil {
				return known(float64(r.Lost.Events))
			}
			return 0, r.EventLog.OK && r.PostgreSQL != nil && r.PostgreSQL.OK
		}),
		newGauge("dead_letters", "Dead letters that are parked.", func(r *Reading) (float64, bool) { return number(r.DeadLetters) }),
		newGauge("workers", "Processes that apply events and answer.", func(r *Reading) (float64, bool) {
			return float64(len(r.Workers)), r.Workers != nil
		}),
		newGauge("in_step", "1 when the rows are in step with what Clerk tells, by the verdict of clerksync lag.", func(r *Reading) (float64, bool) { return truth(r.InStep) }),
		newGauge("silent", "1 when no event was received for longer than the limit.", func(r *Reading) (float64, bool) {
			s, _ := truth(r.Silent)
			return s, r.Silence != nil
		}),
		newGauge("silence_limit_seconds", "Time without an event after which it is called silence.", func(r *Reading) (float64, bool) {
			if r.Silence == nil {
				return 0, false
			}
			return known(r.Silence.Limit)
		}),
		newGauge("event_log_free_bytes", "Free space on the disk of an embedded event log.", func(r *Reading) (float64, bool) {
			return number(r.EventLog.Free)
		}),
		newGauge("postgresql_up", "1 when PostgreSQL answers.", func(r *Reading) (float64, bool) {
			if r.PostgreSQL == nil {
				return 0, false
			}
			return truth(r.PostgreSQL.OK)
		}),
		newGauge("instances_seen", "Clerk instances that the last events are of.", func(r *Reading) (float64, bool) {
			return float64(r.instances), r.EventLog.OK
		}),
	}})
}

type collector struct {
	meter  *Meter
	gauges []gauge
}

// state is the verdict as a series: the one with the present labels is there, and is 1.
var state = prometheus.NewDesc("clerksync_state", "Always 1; the labels say the state of the verdict, and its cause.", []string{"state", "cause"}, nil)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- state
	for _, g := range c.gauges {
		ch <- g.desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	r := c.meter.Measure(context.Background())
	ch <- prometheus.MustNewConstMetric(state, prometheus.GaugeValue, 1, string(r.State), r.Cause)
	for _, g := range c.gauges {
		if v, ok := g.value(r); ok {
			ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v)
		}
	}
}
