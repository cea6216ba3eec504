package tokensourcetest

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// switchable is a listener that can be taken down and brought back on the same address while
// http.Server.Serve keeps running on it.
type switchable struct {
	addr net.Addr

	mu     sync.Mutex
	change *sync.Cond // signals a change of inner or closed
	inner  net.Listener
	closed bool
	down   bool // close accepted connections at once
	conns  map[*trackedConn]struct{}
}

func newSwitchable(inner net.Listener) *switchable {
	l := &switchable{addr: inner.Addr(), inner: inner, conns: map[*trackedConn]struct{}{}}
	l.change = sync.NewCond(&l.mu)
	return l
}

// Accept implements net.Listener. It continues to wait while the listener is stopped. It returns
// [net.ErrClosed] once l is closed.
func (l *switchable) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		for l.inner == nil && !l.closed {
			l.change.Wait()
		}
		inner, closed := l.inner, l.closed
		l.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}

		conn, err := inner.Accept()
		if err != nil {
			l.mu.Lock()
			swapped := l.closed || l.inner != inner
			l.mu.Unlock()
			if swapped {
				continue
			}
			return nil, err
		}
		if tracked := l.track(conn); tracked != nil {
			return tracked, nil
		}
		_ = conn.Close()
	}
}

// track registers conn, or returns nil if conn should be closed. It uses the same lock as setDown,
// so that setDown closes every connection.
func (l *switchable) track(conn net.Conn) *trackedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down || l.closed || l.inner == nil {
		return nil
	}
	tracked := &trackedConn{Conn: conn, listener: l}
	l.conns[tracked] = struct{}{}
	return tracked
}

// Close implements net.Listener.
func (l *switchable) Close() error {
	l.mu.Lock()
	inner := l.inner
	l.inner, l.closed = nil, true
	l.change.Broadcast()
	l.mu.Unlock()
	if inner == nil {
		return nil
	}
	return inner.Close()
}

// Addr implements net.Listener. Stopping the listener does not change the address.
func (l *switchable) Addr() net.Addr { return l.addr }

func (l *switchable) setDown(down bool) {
	l.mu.Lock()
	l.down = down
	l.mu.Unlock()
	if down {
		l.closeConns()
	}
}

// stop closes the socket, so that the operating system refuses connections.
func (l *switchable) stop() error {
	l.mu.Lock()
	inner := l.inner
	l.inner = nil
	l.mu.Unlock()
	var err error
	if inner != nil {
		err = inner.Close()
	}
	l.closeConns()
	return err
}

// start listens again after stop.
func (l *switchable) start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the server is closed")
	}
	if l.inner != nil {
		return nil
	}
	inner, err := net.Listen(l.addr.Network(), l.addr.String())
	if err != nil {
		return fmt.Errorf("listening again: %w", err)
	}
	l.inner = inner
	l.change.Broadcast()
	return nil
}

func (l *switchable) closeConns() {
	l.mu.Lock()
	conns := make([]*trackedConn, 0, len(l.conns))
	for conn := range l.conns {
		conns = append(conns, conn)
	}
	l.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// trackedConn is a connection that its listener can close.
type trackedConn struct {
	net.Conn
	listener *switchable
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// abort closes conn with a TCP reset if it can: unsent data is discarded, and the peer sees an
// error instead of an end.
func abort(conn net.Conn) {
	raw := conn
	if c, ok := raw.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		raw = c.NetConn()
	}
	tracked, _ := raw.(*trackedConn)
	if tracked != nil {
		raw = tracked.Conn
	}
	if c, ok := raw.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
	if tracked != nil {
		// Bypass TLS, which would send its closing alert first.
		_ = tracked.Close()
	}
	_ = conn.Close()
}
