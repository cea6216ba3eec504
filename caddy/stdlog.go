package caddy

import (
	"bytes"
	"io"
	"log"
)

// net/http writes bytes that a server sends without a request to the standard logger, as they
// arrived. They can be the tail of a response that is longer than its header says, and that tail
// can hold the request with its token. redactStdLog keeps them out of the log. Caddy replaces the
// output of the standard logger when it loads a configuration, so redactStdLog is called when the
// app is provisioned, and before each request, in case a later configuration failed before that.

// unsolicited is the beginning of such a line.
var unsolicited = []byte("Unsolicited response received on idle HTTP channel")

// redactedLog is an output of the standard logger without the rest of such lines.
type redactedLog struct{ io.Writer }

func (r redactedLog) Write(line []byte) (int, error) {
	clean := line
	if at := bytes.Index(line, unsolicited); at >= 0 {
		clean = append(bytes.Clone(line[:at+len(unsolicited)]), '\n')
	}
	if _, err := r.Writer.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}

// redactStdLog redacts the output of the standard logger, unless it is redacted already.
func redactStdLog() {
	out := log.Writer()
	if _, done := out.(redactedLog); !done {
		log.SetOutput(redactedLog{out})
	}
}
