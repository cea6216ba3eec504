package tokensourcetest

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// ExpiryShape is how a token response states when the token ends. All shapes but the first one
// occur at real providers.
type ExpiryShape string

const (
	// ExpiryNumber is expires_in as a number of whole seconds (RFC 6749 section 5.1). It is rounded
	// down, so that it never promises more than the remaining lifetime.
	ExpiryNumber ExpiryShape = "number"
	// ExpiryString is expires_in as a string: "3600".
	ExpiryString ExpiryShape = "string"
	// ExpiryFloat is expires_in with a fraction: 3600.0.
	ExpiryFloat ExpiryShape = "float"
	// ExpiryMilliseconds is expires_in in milliseconds.
	ExpiryMilliseconds ExpiryShape = "milliseconds"
	// ExpiryInUnix is expires_in as the Unix time of the end, in seconds.
	ExpiryInUnix ExpiryShape = "expires_in_unix"
	// ExpiryUnix is expires, the Unix time of the end, and no expires_in.
	ExpiryUnix ExpiryShape = "expires"
	// ExpiryAtUnix is expires_at, the Unix time of the end, and no expires_in.
	ExpiryAtUnix ExpiryShape = "expires_at"
	// ExpiryCreatedAt is the whole lifetime as expires_in, even for a token that was issued earlier
	// (Config.SameTokenWithin). It adds created_at, the time of issue from which the lifetime
	// counts (RFC 3339, UTC).
	ExpiryCreatedAt ExpiryShape = "created_at"
	// ExpiryEmpty is expires_in as an empty string.
	ExpiryEmpty ExpiryShape = "empty"
	// ExpiryNull is expires_in as null.
	ExpiryNull ExpiryShape = "null"
	// ExpiryZero is expires_in as 0, although the token is live.
	ExpiryZero ExpiryShape = "zero"
	// ExpiryNegative is expires_in as -1, although the token is live.
	ExpiryNegative ExpiryShape = "negative"
	// ExpiryAbsent means that the response does not state the end.
	ExpiryAbsent ExpiryShape = "absent"
)

// expiryShapes lists all shapes.
var expiryShapes = []ExpiryShape{
	ExpiryNumber, ExpiryString, ExpiryFloat, ExpiryMilliseconds, ExpiryInUnix, ExpiryUnix, ExpiryAtUnix,
	ExpiryCreatedAt, ExpiryEmpty, ExpiryNull, ExpiryZero, ExpiryNegative, ExpiryAbsent,
}

// apply writes into answer that a token which was issued at issued ends at expiry.
func (e ExpiryShape) apply(answer map[string]any, issued, expiry, now time.Time) {
	left := expiry.Sub(now)
	seconds := int64(left / time.Second)
	switch e {
	case ExpiryNumber:
		answer["expires_in"] = seconds
	case ExpiryString:
		answer["expires_in"] = strconv.FormatInt(seconds, 10)
	case ExpiryFloat:
		text := strconv.FormatFloat(left.Seconds(), 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		answer["expires_in"] = json.RawMessage(text)
	case ExpiryMilliseconds:
		answer["expires_in"] = left.Milliseconds()
	case ExpiryInUnix:
		answer["expires_in"] = expiry.Unix()
	case ExpiryUnix:
		answer["expires"] = expiry.Unix()
	case ExpiryAtUnix:
		answer["expires_at"] = expiry.Unix()
	case ExpiryCreatedAt:
		answer["expires_in"] = int64(expiry.Sub(issued) / time.Second)
		answer["created_at"] = issued.UTC().Format(time.RFC3339)
	case ExpiryEmpty:
		answer["expires_in"] = ""
	case ExpiryNull:
		answer["expires_in"] = nil
	case ExpiryZero:
		answer["expires_in"] = 0
	case ExpiryNegative:
		answer["expires_in"] = -1
	case ExpiryAbsent:
	}
}
