package lag

// The causes of a state or a warning, for programs.
const (
	CauseNoWorker      = "no_worker"      // no worker answers
	CauseNotApplying   = "not_applying"   // workers run and apply nothing
	CauseCatchingUp    = "catching_up"    // events arrive faster than they are applied, or did
	CausePostgreSQL    = "postgresql"     // PostgreSQL cannot be used
	CauseMigrations    = "migrations"     // the tables are older or newer than the program
	CauseEventLog      = "event_log"      // the event log cannot be read
	CauseLost          = "lost"           // events left the event log before they were applied
	CauseOtherLog      = "other_log"      // the event log is not the one that the rows come from
	CauseDisk          = "disk"           // the disk of the event log has too little room
	CauseLogFull       = "log_full"       // the event log has reached its size limit
	CauseSecret        = "secret"         // signatures do not fit
	CauseClock         = "clock"          // a clock is wrong
	CauseUnavailable   = "unavailable"    // deliveries could not be stored
	CauseRefused       = "refused"        // deliveries were refused for another reason
	CauseProbe         = "probe"          // the scheduled probe fails
	CauseWrongInstance = "wrong_instance" // events of another Clerk instance
	CauseSilent        = "silent"         // no event for longer than the limit
	CauseDeadLetters   = "dead_letters"   // events were parked
	CauseUnmeasured    = "unmeasured"     // a part of the reading is missing
)

// Causes lists them all.
var Causes = []string{
	CauseNoWorker, CauseNotApplying, CauseCatchingUp, CausePostgreSQL, CauseMigrations, CauseEventLog, CauseLost, CauseOtherLog, CauseDisk, CauseLogFull, CauseSecret,
	CauseClock, CauseUnavailable, CauseRefused, CauseProbe, CauseWrongInstance, CauseSilent, CauseDeadLetters, CauseUnmeasured,
}

// Fixes that several findings share.
const (
	fixEventLog   = "start the NATS server, or correct NATS_URL; clerksync doctor checks it"
	fixPostgreSQL = "bring PostgreSQL back, or correct DATABASE_URL; the workers recover by themselves"
	fixMigrations = "clerksync migrate up; when the tables are newer, run the clerksync that migrated them"
	fixLost       = "have Svix send the events of that time again (Clerk dashboard → Webhooks → your endpoint), then clerksync events lost --acknowledge"
	fixLogFull    = "raise CLERKSYNC_LOG_MAX_BYTES, or lower CLERKSYNC_LOG_MAX_AGE"
)
