//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// token begins every token that the upstreams accept.
const token = "0123456789abcdef0123456789abcdef"

var endOfHead = []byte("\r\n\r\n")

// readHead returns the head of the next HTTP/1.1 message. The head is valid until the next read.
func readHead(r *bufio.Reader) ([]byte, error) {
	for n := 1; ; {
		if _, err := r.Peek(n); err != nil {
			return nil, err
		}
		have, _ := r.Peek(r.Buffered())
		if end := bytes.Index(have, endOfHead); end >= 0 {
			_, err := r.Discard(end + len(endOfHead))
			return have[:end+len(endOfHead)], err
		}
		n = len(have) + 1
	}
}

// accepted reports whether a request, with its path, carries a token or needs none.
func accepted(path string, request []byte) bool {
	return strings.Contains(path, "/plain/") || bytes.Contains(request, []byte(token))
}

// plainUpstream serves HTTP/1.1 in the clear, and returns its URL. It does as little as possible,
// so that the proxy gets most of the CPU: it reads a head and writes a prepared answer.
func plainUpstream(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	answers := make(map[string][]byte)
	for _, size := range sizes {
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size)
		answers[strconv.Itoa(size)] = append([]byte(head), bytes.Repeat([]byte("."), size)...)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(conn, answers)
		}
	}()
	return "http://" + listener.Addr().String()
}

func answer(conn net.Conn, answers map[string][]byte) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	for {
		head, err := readHead(r)
		if err != nil {
			return
		}
		path := string(bytes.Fields(head)[1])
		file, _, _ := strings.Cut(path, "?")
		reply := answers[file[strings.LastIndexByte(file, '/')+1:]]
		if reply == nil || !accepted(path, head) {
			reply = []byte("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// tlsUpstream serves HTTP/2 over TLS with a certificate of ca, and returns its URL.
func tlsUpstream(b *testing.B, ca *harness.Authority) string {
	b.Helper()
	return ca.Server(b, http.HandlerFunc(serve)).URL
}

// largest is the largest answer. Smaller ones are the beginning of it.
var largest = bytes.Repeat([]byte("."), 10<<20)

func serve(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if err != nil || size > len(largest) || r.ProtoMajor != 2 ||
		!accepted(r.URL.Path, []byte(r.Header.Get("Authorization")+r.URL.RawQuery)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	_, _ = w.Write(largest[:size])
}
