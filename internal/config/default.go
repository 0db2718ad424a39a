package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/token"
)

const day = 24 * time.Hour

// Default returns the default configuration. The flags take their defaults from it, by
// [Variables].
func Default() Config {
	return Config{
		Database: Database{Schema: "clerk"},
		Log:      Log{Replicas: 1, MaxAge: 90 * day, DeadMaxAge: 90 * day},
		Receiver: Receiver{StoreEvents: clerk.SyncedTypes(), Addr: ":8080", ProbeEvery: time.Minute},
		Worker: Worker{
			// While one batch is in PostgreSQL, others are decoded and acknowledged:
			// PostgreSQL uses other cores than this process.
			Appliers: 4,
			// Beyond some hundreds, a larger batch saves little of the cost of a
			// transaction, and holds its locks longer.
			Batch:      500,
			EraseAfter: 30 * day,
		},
		Admin:   Admin{Addr: "127.0.0.1:8081"},
		Source:  Source{APIURL: "https://api.clerk.com"},
		DataDir: "./.clerksync",
	}
}

// Variables returns the defaults by the names with which the tags of flags refer to them,
// ${name}.
func Variables() map[string]string {
	d := Default()
	return map[string]string{
		"schema":           d.Schema,
		"log_replicas":     strconv.Itoa(d.Replicas),
		"log_max_age":      hours(d.MaxAge),
		"log_max_age_days": days(d.MaxAge),
		"dead_max_age":     hours(d.DeadMaxAge),
		"store_events":     strings.Join(d.StoreEvents, ","),
		"addr":             d.Receiver.Addr,
		"probe_every":      d.ProbeEvery.String(),
		"appliers":         strconv.Itoa(d.Appliers),
		"batch":            strconv.Itoa(d.Batch),
		"erase_after":      hours(d.EraseAfter),
		"erase_after_days": days(d.EraseAfter),
		"admin_addr":       d.Admin.Addr,
		"api_url":          d.APIURL,
		"data_dir":         d.DataDir,
		"no_party":         token.NoParty,
	}
}

// hours formats a duration as 720h, not 720h0m0s.
func hours(d time.Duration) string { return strconv.Itoa(int(d.Hours())) + "h" }

func days(d time.Duration) string { return strconv.Itoa(int(d / day)) }
