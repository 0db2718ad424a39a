package alert

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/lag"
)

// The types of alerts.
const (
	typeVerdict = "clerksync.verdict"
	typeTest    = "clerksync.test"
)

// Alert is the body of one alert. Its JSON names are a contract. It has the facts of a
// reading, which contains no secret and nothing of a person.
type Alert struct {
	Type     string     `json:"type"`
	State    lag.State  `json:"state"`    // "" in a test
	Cause    string     `json:"cause"`    // one word, "" when in step
	Why      string     `json:"why"`      // the reason, for people
	Verdict  string     `json:"verdict"`  // state and reason as one sentence
	Since    *time.Time `json:"since"`    // null when unknown
	Fix      string     `json:"fix"`      // the next step, "" when there is nothing to do
	Previous lag.State  `json:"previous"` // state of the alert before; "" for the first of a process
	Host     string     `json:"host"`     // name of the machine of the process that sends it
	At       time.Time  `json:"at"`

	id string // the same in every try
}

// NewTest returns an alert that only shows that alerts arrive.
func NewTest() *Alert {
	const why = "sent by clerksync doctor"
	return &Alert{Type: typeTest, Why: why, Verdict: "test: " + why, At: time.Now().UTC(), id: newID()}
}

func newID() string { return "alert_" + strings.ToLower(rand.Text()) }

// slackEscapes are the characters that have a meaning in a text of Slack.
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// body encodes an alert; slack selects the shape of Slack's incoming webhooks.
func (a *Alert) body(slack bool) ([]byte, error) {
	if !slack {
		return json.Marshal(a)
	}
	text := "clerksync on " + a.Host + ": " + a.Verdict
	if a.State == lag.InStep && a.Previous != "" {
		text += " (was " + string(a.Previous) + ")"
	}
	if a.Fix != "" {
		text += "\n→ " + a.Fix
	}
	return json.Marshal(map[string]string{"text": slackEscapes.Replace(text)})
}
