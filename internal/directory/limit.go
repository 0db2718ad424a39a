package directory

import (
	"sync"

	"golang.org/x/time/rate"
)

const (
	// A user may send userRate requests a second, and userBurst at once: a page behind a
	// gateway loads dozens of files, each with a request here. It keeps one client that
	// runs wild from the connections of all others.
	userRate  = 50
	userBurst = 200

	// maxUsers bounds the users in memory, about 150 bytes each.
	maxUsers = 20_000
)

// limits limits the requests of each user. Nothing limits those without a valid token:
// they cost microseconds and no query, and all clients behind one gateway have its address,
// so that a limit would refuse those whose token has just expired.
type limits struct {
	mu    sync.Mutex
	users map[string]*rate.Limiter
}

func (l *limits) of(user string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[user]
	if u == nil {
		if l.users == nil || len(l.users) >= maxUsers {
			l.users = map[string]*rate.Limiter{} // everybody starts anew
		}
		u = rate.NewLimiter(userRate, userBurst)
		l.users[user] = u
	}
	return u
}
