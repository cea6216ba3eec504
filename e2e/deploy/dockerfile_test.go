package deploy

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// A dockerfile is a parsed Dockerfile, as a list of stages.
type dockerfile []*stage

// A stage begins with FROM.
type stage struct {
	from   string // without flags and name
	name   string
	steps  []step
	args   []string
	env    map[string]string
	user   string
	volume []string
	entry  []string
	cmd    []string
}

// A step is a RUN or COPY instruction.
type step struct {
	kind string
	text string
}

func (d dockerfile) last() *stage { return d[len(d)-1] }

// run returns the commands of RUN.
func (s *stage) run() (commands []string) {
	for _, step := range s.steps {
		if step.kind == "RUN" {
			commands = append(commands, step.text)
		}
	}
	return commands
}

// parseDockerfile reads the instructions that the project's Dockerfile uses. Any other instruction
// fails the test.
func parseDockerfile(t testing.TB, text string) (d dockerfile) {
	t.Helper()
	text = regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if kind == "FROM" {
			s := &stage{env: map[string]string{}}
			fields := strings.Fields(rest)
			for len(fields) > 0 && strings.HasPrefix(fields[0], "--") {
				fields = fields[1:]
			}
			s.from = fields[0]
			if len(fields) == 3 {
				s.name = fields[2]
			}
			d = append(d, s)
			continue
		}
		s := d.last()
		switch kind {
		case "RUN", "COPY":
			s.steps = append(s.steps, step{kind, rest})
		case "ARG":
			s.args = append(s.args, rest)
		case "ENV":
			name, value, _ := strings.Cut(rest, "=")
			s.env[name] = value
		case "USER":
			s.user = rest
		case "VOLUME":
			s.volume = list(t, rest)
		case "ENTRYPOINT":
			s.entry = list(t, rest)
		case "CMD":
			s.cmd = list(t, rest)
		case "WORKDIR":
		default:
			t.Fatalf("%s is not understood", line)
		}
	}
	return d
}

func list(t testing.TB, text string) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &words); err != nil {
		t.Fatalf("%s is not in the exec form: %v", text, err)
	}
	return words
}

// The image has no shell and no root user. It is built with a version of Go that is named to the
// patch.
func TestDockerfile(t *testing.T) {
	d := parseDockerfile(t, read(t, "Dockerfile"))
	if len(d) != 2 {
		t.Fatalf("%d stages", len(d))
	}
	build, image := d[0], d.last()
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	if !regexp.MustCompile(`^golang:` + regexp.QuoteMeta(goVersion) + `\.\d+-[a-z]+$`).MatchString(build.from) {
		t.Errorf("it builds on %s, want a patch version of Go %s", build.from, goVersion)
	}
	if image.from != "scratch" {
		t.Errorf("the image is made from %s", image.from)
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(image.user) {
		t.Errorf("the user is %q, want numbers that are not root's", image.user)
	}
	if len(image.run()) > 0 {
		t.Errorf("the image has no shell to run %q", image.run())
	}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		found := false
		for _, volume := range image.volume {
			found = found || image.env[name] == volume
		}
		if !found {
			t.Errorf("%s is %q, which is no volume of %q", name, image.env[name], image.volume)
		}
	}
}
