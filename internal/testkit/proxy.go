package testkit

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a test and a server, and can cut the connections between the two.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	target  string
	refuses bool
	hangs   chan struct{} // nil: lets through; otherwise what arrives waits for its end
	delay   time.Duration // of what passes, in each direction
	conns   map[net.Conn]bool
}

// NewProxy returns a proxy before the server at an address, host:port.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, target: target, conns: map[net.Conn]bool{}}
	p.running.Go(p.serve)
	t.Cleanup(p.Close)
	return p
}

// Addr returns where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut breaks all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	p.closeAll()
}

// Restore lets connections through again, to another server if target is given.
func (p *Proxy) Restore(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = false
	if p.hangs != nil { // what hung is lost, new connections go through
		close(p.hangs)
		p.hangs = nil
		p.closeAll()
	}
	if target != "" {
		p.target = target
	}
}

// Hang lets nothing through any more, and breaks nothing.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs = make(chan struct{})
}

// Delay has what passes on later connections arrive later, in each direction. It takes
// nothing from the rate.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Close ends it. It can be called again.
func (p *Proxy) Close() {
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

func (p *Proxy) closeAll() {
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

func (p *Proxy) serve() {
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
		delay := p.delay
		p.mu.Unlock()
		if delay > 0 {
			client, server = p.late(client, delay), p.late(server, delay)
		}
		p.running.Go(func() { p.pass(client, server) })
		p.running.Go(func() { p.pass(server, client) })
	}
}

// pass passes on what arrives from one side, until either is closed.
func (p *Proxy) pass(from, to net.Conn) {
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

// lateConn is a connection whose writes, and then its end, arrive late.
type lateConn struct {
	net.Conn
	delay  time.Duration
	queue  chan write
	closed chan struct{}
}

type write struct {
	due  time.Time
	data []byte // nil at the end
}

func (p *Proxy) late(conn net.Conn, delay time.Duration) net.Conn {
	c := &lateConn{conn, delay, make(chan write, 1024), make(chan struct{})}
	p.running.Go(func() {
		defer conn.Close()
		defer close(c.closed)
		for w := range c.queue {
			<-time.After(time.Until(w.due))
			if w.data == nil {
				return
			}
			if _, err := conn.Write(w.data); err != nil {
				return
			}
		}
	})
	return c
}

func (c *lateConn) Write(data []byte) (int, error) { return len(data), c.pass(bytes.Clone(data)) }

func (c *lateConn) Close() error { return c.pass(nil) }

func (c *lateConn) pass(data []byte) error {
	select {
	case c.queue <- write{time.Now().Add(c.delay), data}:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}
