// Package dashboard is the page on the admin listener that an operator looks at: how
// far the rows are behind Clerk, at every hop and live, the workers, the stored events
// and the dead letters, which can be retried, replayed and discarded from it. What it
// shows is measured by internal/monitor; it measures nothing itself, and it shows no
// payload unless somebody asks for that of one event.
package dashboard
