package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

const day = 24 * time.Hour

// Default returns the configuration of a process that was told nothing. It is the one
// place where defaults are: the flags take theirs from [Variables].
func Default() Config {
	return Config{
		Database: Database{Schema: "clerk"},
		Log:      Log{Replicas: 1, MaxAge: 90 * day, DeadMaxAge: 90 * day},
		Receiver: Receiver{StoreEvents: clerk.SyncedTypes(), Addr: ":8080", ProbeEvery: time.Minute},
		Worker: Worker{
			// One batch is in PostgreSQL while another is decoded or acknowledged, with
			// PostgreSQL on other cores than ours.
			Appliers: 4,
			// Beyond some hundreds the price of a transaction is spread thin, and others
			// wait for the locks.
			Batch:      500,
			EraseAfter: 30 * day,
		},
		Admin:   Admin{Addr: "127.0.0.1:8081"},
		DataDir: "./.clerksync",
	}
}

// Variables returns the defaults by the names under which the tags of the flags refer to
// them, as ${name}.
func Variables() map[string]string {
	d := Default()
	return map[string]string{
		"schema":       d.Schema,
		"log_replicas": strconv.Itoa(d.Replicas),
		"log_max_age":  hours(d.MaxAge),
		"dead_max_age": hours(d.DeadMaxAge),
		"store_events": strings.Join(d.StoreEvents, ","),
		"addr":         d.Receiver.Addr,
		"probe_every":  d.ProbeEvery.String(),
		"appliers":     strconv.Itoa(d.Appliers),
		"batch":        strconv.Itoa(d.Batch),
		"erase_after":  hours(d.EraseAfter),
		"admin_addr":   d.Admin.Addr,
		"data_dir":     d.DataDir,
	}
}

// hours writes a duration as people do: 720h, and not 720h0m0s.
func hours(d time.Duration) string { return strconv.Itoa(int(d.Hours())) + "h" }
