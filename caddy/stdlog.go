package caddy

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
)

// What a server sends when nobody has asked it is written to the standard logger by net/http, as it
// arrived. It may be the end of an answer that is longer than it said, with the request in it; and
// it may be anybody's data.

// unsolicited begins that line.
var unsolicited = []byte("Unsolicited response received on idle HTTP channel")

// muffled is the standard logger's output without the rest of such lines.
type muffled struct{ io.Writer }

func (m muffled) Write(line []byte) (int, error) {
	said := line
	if at := bytes.Index(line, unsolicited); at >= 0 {
		said = append(bytes.Clone(line[:at+len(unsolicited)]), '\n')
	}
	if _, err := m.Writer.Write(said); err != nil {
		return 0, err
	}
	return len(line), nil
}

// muffledConn is a connection to a server, of which nothing arrives before the standard logger is muffled:
// Caddy directs that elsewhere whenever a configuration is loaded, or fails to be.
type muffledConn struct{ net.Conn }

func (c muffledConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	muffleStdLog()
	return n, err
}

// CloseWrite ends what is sent, as who tunnels through an upgraded connection does.
func (c muffledConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// muffleStdLog makes the standard logger keep such bytes to itself.
func muffleStdLog() {
	out := log.Writer()
	if _, already := out.(muffled); !already {
		log.SetOutput(muffled{out})
	}
}
