package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/units"
)

// look describes the screen.
type look struct {
	width  int // columns, 0 for no limit
	height int // lines, 0 for no limit
	colour bool
}

// The styles, in the terminal's own colours.
const (
	green  = "\x1b[1;32m"
	yellow = "\x1b[1;33m"
	red    = "\x1b[1;31m"
	faint  = "\x1b[2m"
	plain  = "\x1b[0m"
)

// stateStyles are the colours of the verdict.
var stateStyles = map[lag.State]string{
	lag.InStep: green, lag.Silent: yellow, lag.Behind: yellow, lag.Refusing: red, lag.Stuck: red, lag.Lost: red, lag.Unknown: red,
}

// labelWidth is the width of the labels.
const labelWidth = 14

// lagLines draws the last reading, and charts when there are several.
func lagLines(readings []*lag.Reading, l look) []string {
	r := readings[len(readings)-1]
	p := &page{look: l}
	p.finding(stateStyles[r.State], "", r.Verdict, r.Fix)
	for _, w := range r.Warnings {
		p.finding(yellow, "! ", w.Text, w.Fix)
	}
	p.blank()
	p.hops(r)
	p.blank()
	if len(readings) > 1 {
		p.charts(readings)
		p.blank()
	}
	p.row("pending", pendingText(r))
	if rates := ratesText(r); rates != "" {
		p.row("rates", rates)
	}
	p.row("last event", lastEventText(r))
	p.row("dead letters", numberOf(r.DeadLetters))
	p.row("event log", eventLogText(r.EventLog))
	p.row("PostgreSQL", postgresText(r.PostgreSQL))
	p.workers(r)
	return p.fit()
}

// page collects the lines of a screen.
type page struct {
	look
	lines []string
}

func (p *page) blank() { p.lines = append(p.lines, "") }

func (p *page) line(style, text string) {
	if p.colour && style != "" {
		text = style + text + plain
	}
	p.lines = append(p.lines, text)
}

// text adds a label and a text, wrapped to the width.
func (p *page) text(style, label, text string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(label))
	line, empty := label, true
	for _, word := range strings.Fields(oneLine(text)) {
		switch {
		case empty:
			line += word
		case p.width > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > p.width:
			p.line(style, line)
			line = indent + word
		default:
			line += " " + word
		}
		empty = false
	}
	p.line(style, line)
}

// finding adds a text and what helps.
func (p *page) finding(style, label, text, fix string) {
	p.text(style, label, text)
	if fix != "" {
		p.text("", "  → ", fix)
	}
}

func (p *page) row(label, text string) { p.text("", fmt.Sprintf("%-*s", labelWidth, label), text) }

// hops adds the table of the lags.
func (p *page) hops(r *lag.Reading) {
	table := [][]string{{"", "P50", "P99", "EVENTS", "FROM → TO"}}
	for _, hop := range []struct {
		name, between string
		lag           *lag.Quantiles
	}{
		{"delivery", "emitted by Clerk → received", r.Delivery},
		{"queue", "stored → applied", r.Queue},
		{"end to end", "emitted by Clerk → applied", r.EndToEnd},
	} {
		cells := []string{hop.name, "-", "-", "-", hop.between}
		if hop.lag != nil {
			cells[1], cells[2], cells[3] = units.Seconds(hop.lag.P50), units.Seconds(hop.lag.P99), fmt.Sprint(hop.lag.Events)
		}
		table = append(table, cells)
	}
	widths := []int{labelWidth, 0, 0, 0, 0}
	total := 0
	for i := range widths {
		for _, cells := range table {
			widths[i] = max(widths[i], utf8.RuneCountInString(cells[i])+2)
		}
		total += widths[i]
	}
	for i, cells := range table {
		if p.width > 0 && total-2 > p.width {
			cells = cells[:4]
		}
		line := ""
		for j, cell := range cells {
			line += fmt.Sprintf("%-*s", widths[j], cell)
		}
		style := ""
		if i == 0 {
			style = faint
		}
		p.line(style, strings.TrimRight(line, " "))
	}
}

// mostWidth is the width of the maximum next to a chart.
const mostWidth = 12

// charts adds the charts, with a column for every reading.
func (p *page) charts(readings []*lag.Reading) {
	if p.width > 0 {
		room := max(p.width-labelWidth-2-mostWidth, 1)
		readings = readings[max(len(readings)-room, 0):]
	}
	columns := max(len(readings), len("THE LAST 59 min 59 s"))
	span := units.Since(readings[0].MeasuredAt, readings[len(readings)-1].MeasuredAt)
	p.line(faint, fmt.Sprintf("%-*s%-*s  MOST", labelWidth, "", columns, "THE LAST "+span))
	for _, chart := range []struct {
		name  string
		value func(*lag.Reading) *float64
		text  func(float64) string
	}{
		{"pending", pendingNumber, func(n float64) string { return fmt.Sprintf("%.0f", n) }},
		{"oldest", func(r *lag.Reading) *float64 { return r.OldestPendingAge }, units.Seconds},
		{"end to end", endToEndP99, func(s float64) string { return units.Seconds(s) + " p99" }},
		{"applied", func(r *lag.Reading) *float64 { return r.AppliedPerSecond }, units.Rate},
	} {
		var values []*float64
		most := "-"
		greatest := -1.0
		for _, r := range readings {
			v := chart.value(r)
			if v != nil && *v > greatest {
				greatest, most = *v, chart.text(*v)
			}
			values = append(values, v)
		}
		p.line("", fmt.Sprintf("%-*s%-*s  %s", labelWidth, chart.name, columns, sparkline(values), most))
	}
}

func pendingNumber(r *lag.Reading) *float64 {
	if r.Pending == nil {
		return nil
	}
	n := float64(*r.Pending)
	return &n
}

func endToEndP99(r *lag.Reading) *float64 {
	if r.EndToEnd == nil {
		return nil
	}
	return &r.EndToEnd.P99
}

// workers adds a line for each worker.
func (p *page) workers(r *lag.Reading) {
	switch {
	case r.Workers == nil:
		p.row("workers", "not known: they could not be asked")
	case len(r.Workers) == 0:
		p.row("workers", "none answers")
	}
	for i, w := range r.Workers {
		label := "workers"
		if i > 0 {
			label = ""
		}
		p.row(label, workerText(&w, r.MeasuredAt))
	}
}

func workerText(w *lag.Worker, now time.Time) string {
	text := fmt.Sprintf("%s, version %s, up %s, %d of %s busy",
		orDash(w.Name), orDash(w.Version), units.Since(w.StartedAt, now), w.Busy, units.Count(w.Appliers, "applier", "appliers"))
	if w.Failing != nil {
		text += fmt.Sprintf("; failing for %s: %s", units.Since(w.Failing.Since, now), w.Failing.Reason)
	} else if w.Outage != nil {
		text += fmt.Sprintf("; for %s: %s", units.Since(w.Outage.Since, now), w.Outage.Reason)
	}
	return text
}

func numberOf(n *uint64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func pendingText(r *lag.Reading) string {
	switch {
	case r.Pending == nil:
		return "-"
	case *r.Pending == 0:
		return "0"
	}
	text := fmt.Sprintf("%d, %s in work", *r.Pending, numberOf(r.InWork))
	if r.OldestPendingAge != nil {
		text += ", the oldest for " + units.Seconds(*r.OldestPendingAge)
	}
	return text
}

// ratesText returns "" while the rates are unknown.
func ratesText(r *lag.Reading) string {
	if r.StoredPerSecond == nil || r.AppliedPerSecond == nil {
		return ""
	}
	text := fmt.Sprintf("%s stored, %s applied", units.Rate(*r.StoredPerSecond), units.Rate(*r.AppliedPerSecond))
	if r.SecondsLeft != nil {
		text += ", about " + units.Seconds(*r.SecondsLeft) + " left"
	}
	return text
}

func lastEventText(r *lag.Reading) string {
	switch {
	case !r.EventLog.OK:
		return "-"
	case r.Silence == nil:
		return "-"
	}
	text := "none from Clerk is in the log"
	if r.LastEventReceivedAt != nil {
		text = "received " + units.Seconds(r.Silence.Seconds) + " ago"
	}
	if r.Silence.UsualGap != nil {
		text += ", usual gap " + units.Seconds(*r.Silence.UsualGap)
	}
	if left := r.Silence.Limit - r.Silence.Seconds; left > 0 {
		return text + fmt.Sprintf("; silent after %s, in %s", units.Seconds(r.Silence.Limit), units.Seconds(left))
	}
	return text + "; silent after " + units.Seconds(r.Silence.Limit)
}

func eventLogText(n lag.Neighbour) string {
	if !n.OK {
		return n.Error
	}
	text := fmt.Sprintf("%d events, %s", n.Events, units.Bytes(n.Bytes))
	if n.MaxBytes > 0 {
		text += " of " + units.Bytes(n.MaxBytes)
	}
	if n.Free != nil {
		text += ", " + units.Bytes(*n.Free) + " free on its disk"
	}
	return text
}

func postgresText(n *lag.Neighbour) string {
	switch {
	case n == nil:
		return "not asked, and no lags without it: set DATABASE_URL"
	case !n.OK:
		return n.Error
	}
	return "answers"
}

// fit limits the lines to the height: it drops blank lines first, then the last ones.
func (p *page) fit() []string {
	over := len(p.lines) - p.height
	if p.height <= 0 || over <= 0 {
		return p.lines
	}
	var tight []string
	for _, line := range p.lines {
		if line == "" && over > 0 {
			over--
			continue
		}
		tight = append(tight, line)
	}
	if over == 0 {
		return tight
	}
	if p.height == 1 {
		return tight[:1]
	}
	shown := p.height - 1
	return append(tight[:shown], fmt.Sprintf("… %d more: make the window higher", len(tight)-shown))
}

// lagLine formats a reading as one line, for a log.
func lagLine(r *lag.Reading) string {
	oldest, p99, applied := "-", "-", "-"
	if r.OldestPendingAge != nil {
		oldest = units.Seconds(*r.OldestPendingAge)
	}
	if r.EndToEnd != nil {
		p99 = units.Seconds(r.EndToEnd.P99)
	}
	if r.AppliedPerSecond != nil {
		applied = units.Rate(*r.AppliedPerSecond)
	}
	return fmt.Sprintf("%s  pending %s  oldest %s  end to end p99 %s  applied %s  %s",
		r.MeasuredAt.UTC().Format(time.RFC3339), numberOf(r.Pending), oldest, p99, applied, oneLine(r.Verdict))
}
