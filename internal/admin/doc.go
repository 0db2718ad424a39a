// Package admin is the admin listener, for operators: health and readiness, the metrics,
// a reading of the lag, and the dashboard, with its stored events and dead letters,
// which can be retried, replayed and discarded from there. One mux has every route, and
// one guard stands before it.
//
// It measures nothing itself: readings come from internal/lag. It shows a payload only
// when somebody asks for that of one event.
package admin
