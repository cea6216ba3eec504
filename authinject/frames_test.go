package authinject

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An error may quote what an upstream says in frames of HTTP/2, and that may be the token of an earlier
// request.
func TestFramesQuoteNoOtherToken(t *testing.T) {
	const other = "canary-of-another-account"
	for want, answer := range map[string]func(*h2.Framer, uint32) error{
		`ErrCode=PROTOCOL_ERROR, debug="GET /a? REDACTED"`: func(f *h2.Framer, stream uint32) error {
			return errors.Join(f.WriteGoAway(stream, h2.ErrCodeProtocol, []byte("GET /a? _bearer_token="+other)), io.EOF)
		},
		`invalid header field name "REDACTED"`: func(f *h2.Framer, stream uint32) error {
			var fields bytes.Buffer
			encoder := hpack.NewEncoder(&fields)
			for _, field := range []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "X" + other}} {
				if err := encoder.WriteField(field); err != nil {
					return err
				}
			}
			return f.WriteHeaders(h2.HeadersFrameParam{
				StreamID: stream, BlockFragment: fields.Bytes(), EndStream: true, EndHeaders: true,
			})
		},
	} {
		t.Run(want, func(t *testing.T) {
			address := serveFrames(t, answer)
			base := &http.Transport{Protocols: new(http.Protocols)}
			base.Protocols.SetUnencryptedHTTP2(true)
			t.Cleanup(base.CloseIdleConnections)
			rt := newTransport(t, base, newSource(token(canary, 1)))
			rt.Destinations = destinations(t, "http://"+address)
			_, err := rt.RoundTrip(get(t, "http://"+address+"/a"))
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// serveFrames answers the first request over HTTP/2 with frames that answer writes.
func serveFrames(t *testing.T, answer func(f *h2.Framer, stream uint32) error) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, len(h2.ClientPreface)))
		f := h2.NewFramer(conn, conn)
		err = errors.Join(err, f.WriteSettings())
		for err == nil {
			var frame h2.Frame
			if frame, err = f.ReadFrame(); err == nil && frame.Header().Type == h2.FrameHeaders {
				err = answer(f, frame.Header().StreamID)
			}
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// So may an error of HTTP/3.
func TestErrorsOfHTTP3QuoteNoOtherToken(t *testing.T) {
	const other = "canary-of-another-account"
	for _, text := range []string{
		"Application error 0x101 (remote): " + other, "header field is not lower-case: " + other,
		`invalid header field value for ` + other + `: "` + other + `"`, "received pseudo header :" + other + " after a field",
		"contradicting content lengths (1 and " + other + ")",
	} {
		if got := scrubError(errors.New(text), canary).Error(); strings.Contains(got, other) {
			t.Error(got)
		}
	}
}
