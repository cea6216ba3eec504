package tokensourcetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// maxBody is the maximum length of a token request's body in bytes.
const maxBody = 1 << 20

// params are the parameters of a token request, separated by their place.
type params struct {
	body, query url.Values
	format      BodyFormat
}

// all returns the parameters of both places.
func (p params) all() url.Values {
	all := url.Values{}
	for _, values := range []url.Values{p.query, p.body} {
		for name, v := range values {
			all[name] = append(all[name], v...)
		}
	}
	return all
}

// readParams reads the body and parses body and query. If it fails, it still returns the parameters
// that it could parse, for the record.
func readParams(r *http.Request) (params, *oauthError) {
	p := params{format: FormatForm}
	invalid := func(text string) (params, *oauthError) {
		return p, errorf(http.StatusBadRequest, "invalid_request", text)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return invalid("the body could not be read")
	}
	if p.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return invalid("malformed query")
	}
	if len(body) > maxBody {
		return invalid("body too long")
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(body) == 0:
		p.format = FormatQuery
	case mediaType == "application/x-www-form-urlencoded":
		p.body, err = url.ParseQuery(string(body))
	case mediaType == "application/json":
		p.format = FormatJSON
		p.body, err = parseFlatJSON(body)
	default:
		return invalid("Content-Type must be application/x-www-form-urlencoded")
	}
	if err != nil {
		return invalid("malformed body")
	}
	for name, values := range p.all() {
		// RFC 6749 section 3.2 forbids this within either place and across both.
		if len(values) > 1 {
			return invalid(fmt.Sprintf("parameter %q more than once", name))
		}
	}
	return p, nil
}

// parseFlatJSON reads one JSON object of strings, numbers and booleans. It reads token by token,
// because a map would hide a repeated name.
func parseFlatJSON(data []byte) (url.Values, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	values := url.Values{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		value, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch value := value.(type) {
		case nil: // null counts as omitted
		case string, json.Number, bool:
			values.Add(name.(string), fmt.Sprint(value))
		default:
			return nil, errors.New("nested JSON")
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("text after the JSON object")
	}
	return values, nil
}

// checkFormat checks that the client puts its parameters in the places it may use. Credentials in
// the URL are a matter of client authentication, not of the format.
func (p params) checkFormat(c *Client) *oauthError {
	if p.format != FormatQuery && !c.maySend(p.format) {
		return errorf(http.StatusBadRequest, "invalid_request", "this client may not send a body of this format")
	}
	for name := range p.query {
		if name == "client_id" || name == "client_secret" {
			continue
		}
		if !c.maySend(FormatQuery) {
			return errorf(http.StatusBadRequest, "invalid_request", "parameters belong into the body")
		}
	}
	return nil
}
