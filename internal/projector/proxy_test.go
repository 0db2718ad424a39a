package projector

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between us and a server, and can cut the way between the two.
type proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string
	refuses bool
	hangs   chan struct{} // nil: lets through; otherwise what arrives waits for its end
	conns   map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]bool{}}
	p.running.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// cut breaks all connections and refuses new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	p.closeAll()
}

// restore lets connections through again, to another server if target is given.
func (p *proxy) restore(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
	if target != "" {
		p.target = target
	}
}

// hang lets nothing through any more, and breaks nothing.
func (p *proxy) hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs = make(chan struct{})
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.refuses = true
	if p.hangs != nil {
		close(p.hangs)
		p.hangs = nil
	}
	p.closeAll()
	p.mu.Unlock()
	p.running.Wait()
}

func (p *proxy) closeAll() {
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuses, target := p.refuses, p.target
		p.mu.Unlock()
		if refuses {
			client.Close()
			continue
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		if p.refuses { // meanwhile
			client.Close()
			server.Close()
		}
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.running.Go(func() { p.pass(client, server) })
		p.running.Go(func() { p.pass(server, client) })
	}
}

// pass passes on what arrives from one side, until either is closed.
func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		hangs := p.hangs
		p.mu.Unlock()
		if hangs != nil {
			<-hangs
			return
		}
		if _, e := to.Write(buf[:n]); e != nil || err != nil {
			return
		}
	}
}
