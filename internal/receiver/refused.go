package receiver

import "time"

// Refused is a stub.
type Refused struct {
	Count         int
	Reason        string
	Since, LastAt time.Time
	ClockOff      time.Duration
}

// Refused is a stub.
func (r *Receiver) Refused() *Refused { return nil }
