//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clients is the number of connections over which a load is sent. It is more than the cores of the
// machines on which this runs, so that the proxy always has work.
const clients = 16

// load sends requests over connections of its own, one after the other on each. It writes prepared
// bytes and reads only what it must of the answers: the proxy should get most of the CPU.
type load struct {
	addr     string
	requests [][]byte
	conns    []*connection
	next     atomic.Uint64
}

type connection struct {
	net.Conn
	r *bufio.Reader
}

// newLoad prepares a load on path at addr, with header fields for each request in turn.
func newLoad(b *testing.B, addr, path string, fields ...string) *load {
	b.Helper()
	if len(fields) == 0 {
		fields = []string{""}
	}
	l := &load{addr: addr}
	for _, field := range fields {
		if field != "" {
			field += "\r\n"
		}
		l.requests = append(l.requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load/1.0\r\n"+
			"Accept: application/json\r\nAccept-Encoding: gzip\r\n%s\r\n", path, addr, field))
	}
	b.Cleanup(func() {
		for _, c := range l.conns {
			_ = c.Close()
		}
	})
	return l
}

// open opens connections until there are n. Servers close a connection that stays without a
// request.
func (l *load) open(b *testing.B, n int) {
	b.Helper()
	for len(l.conns) < n {
		conn, err := net.Dial("tcp", l.addr)
		if err != nil {
			b.Fatal(err)
		}
		l.conns = append(l.conns, &connection{conn, bufio.NewReaderSize(conn, 64<<10)})
	}
}

// run sends requests for d, and each prepared request at least once. It returns how many were
// answered. An answer other than 200 ends the benchmark.
func (l *load) run(b *testing.B, d time.Duration) int {
	b.Helper()
	var stop atomic.Bool
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	return l.each(b, func(c *connection) (n int, err error) {
		for ; err == nil && (!stop.Load() || l.next.Load() < uint64(len(l.requests))); n++ {
			err = l.exchange(c)
		}
		return n, err
	})
}

// count sends n requests.
func (l *load) count(b *testing.B, n int) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(n))
	l.each(b, func(c *connection) (sent int, err error) {
		for ; err == nil && left.Add(-1) >= 0; sent++ {
			err = l.exchange(c)
		}
		return sent, err
	})
}

// each runs send for every connection, and returns the sum of the results. An error ends the
// benchmark.
func (l *load) each(b *testing.B, send func(*connection) (int, error)) int {
	b.Helper()
	l.open(b, clients)
	var total atomic.Int64
	var failed atomic.Pointer[error]
	var senders sync.WaitGroup
	for _, c := range l.conns {
		senders.Go(func() {
			n, err := send(c)
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
			total.Add(int64(n))
		})
	}
	senders.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return int(total.Load())
}

// exchange sends the next request on c and reads the answer.
func (l *load) exchange(c *connection) error {
	request := l.requests[l.next.Add(1)%uint64(len(l.requests))]
	if _, err := c.Write(request); err != nil {
		return err
	}
	return c.read()
}

// contentLength is the field, whose name some proxies write in lower case.
var contentLength = regexp.MustCompile(`\r\n[Cc]ontent-[Ll]ength: (\d+)\r\n`)

// read reads an answer.
func (c *connection) read() error {
	head, err := readHead(c.r)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the proxy answered %q", head)
	}
	found := contentLength.FindSubmatch(head)
	if found == nil {
		return fmt.Errorf("no length in %q", head)
	}
	length, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return err
	}
	_, err = c.r.Discard(length)
	return err
}

// tick is the unit of the times in /proc/<pid>/stat: USER_HZ is 100 on every Linux.
const tick = 10 * time.Millisecond

// cpu returns the CPU time that the processes have used, user and system.
func cpu(b *testing.B, pids ...int) time.Duration {
	b.Helper()
	var ticks int
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
		for _, field := range fields[11:13] { // utime and stime
			n, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}
