package eventlog

import "github.com/clerksync/clerksync/internal/clerk"

// ReasonRefused is the reason of what PostgreSQL does not take for its content. The
// others are those of [clerk.Reason].
const ReasonRefused = "refused"

// Reasons explains to a person every reason for which an event is parked, and what
// helps.
var Reasons = map[string]string{
	clerk.ErrUndecodable.Error():   "the body cannot be read: not JSON, a key twice, a field of another type; a newer clerksync may read it",
	clerk.ErrNoType.Error():        "it does not say what it is: a test message?",
	clerk.ErrNoID.Error():          "it does not say whom it is about",
	clerk.ErrUnusableID.Error():    "an id in it is not of the form that Clerk makes",
	clerk.ErrWrongInstance.Error(): "an event of another Clerk instance, such as the dashboard's examples: discard it, or correct CLERK_INSTANCE_ID and retry",
	ReasonRefused:                  "PostgreSQL refuses its content: a constraint that somebody added? remove it and retry",
}
