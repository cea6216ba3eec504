// Command release builds the release: for each platform a static binary in an archive with the
// license and the README, a list of its modules as CycloneDX JSON, and one file of SHA-256 sums.
//
//	go run ./internal/release -version v1.2.3 -time 1700000000 -out dist
//
// The same source, version, time and Go make the same bytes, on any machine and in any directory.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// platforms are the platforms of a release, as GOOS/GOARCH.
var platforms = []string{
	"linux/amd64", "linux/arm64",
	"darwin/amd64", "darwin/arm64",
	"windows/amd64", "windows/arm64",
}

const (
	binaryPackage = "./caddy/cmd/caddy"
	// versionVariable is the variable that "caddy version" prints first.
	versionVariable = "github.com/caddyserver/caddy/v2.CustomVersion"
	sumsFile        = "SHA256SUMS"
)

// usableVersion matches versions that can be part of a file's name and of a linker flag.
var usableVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release describes one run of the command.
type release struct {
	out     string
	version string
	time    time.Time // the time of every file in the archives
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	var (
		out     = flags.String("out", "dist", "the `directory` to write to")
		version = flags.String("version", "", "the release's `version`, such as v1.2.3")
		seconds = flags.Int64("time", 0, "the time of the files in the archives, in Unix `seconds`")
		chosen  = flags.String("platforms", strings.Join(platforms, ","), "the platforms to build for, as GOOS/GOARCH, "+
			"separated by commas")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if !usableVersion.MatchString(*version) {
		return fmt.Errorf("version %q cannot be used: give letters, digits and . _ + - with -version, such as v1.2.3",
			*version)
	}
	list := strings.Split(*chosen, ",")
	for _, platform := range list {
		if !slices.Contains(platforms, platform) {
			return fmt.Errorf("unknown platform %q; known are %s", platform, strings.Join(platforms, ", "))
		}
	}
	if err := os.MkdirAll(*out, 0o750); err != nil {
		return err
	}
	r := release{*out, *version, time.Unix(*seconds, 0).UTC()}
	var failed []string
	var files []string
	for _, platform := range list {
		fmt.Printf("%s: building, a few minutes the first time\n", platform)
		made, err := r.build(ctx, platform)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			failed = append(failed, platform)
			fmt.Printf("%s: NOT BUILT: %v\n", platform, err)
			continue
		}
		for _, name := range made {
			fmt.Printf("%s: %s\n", platform, filepath.Join(r.out, name))
		}
		files = append(files, made...)
	}
	if err := writeSums(r.out, files); err != nil {
		return err
	}
	fmt.Printf("%d of %d platforms were built. The sums are in %s; check them with: sha256sum -c %s\n",
		len(list)-len(failed), len(list), filepath.Join(r.out, sumsFile), sumsFile)
	if len(failed) > 0 {
		return errors.New("not built: " + strings.Join(failed, ", ") + "; the reasons are above. Do not publish this release")
	}
	return nil
}

// build makes the files of one platform and returns their names.
func (r release) build(ctx context.Context, platform string) (made []string, err error) {
	goos, goarch, _ := strings.Cut(platform, "/")
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := "caddy"
	if goos == "windows" {
		name += ".exe"
	}
	binary := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", append(buildArgs(r.version), "-o", binary, binaryPackage)...) //nolint:gosec // the version was checked
	// Settings of the machine must not change the bytes of the binary.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0",
		"GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}

	base := fmt.Sprintf("authinject_%s_%s_%s", r.version, goos, goarch)
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	licenses, err := thirdPartyLicenses(ctx, info)
	if err != nil {
		return nil, err
	}
	entries := []entry{{name: name, path: binary, mode: 0o755},
		{name: "THIRD-PARTY-LICENSES", content: licenses, mode: 0o644}}
	for _, file := range []string{"LICENSE", "README.md"} {
		entries = append(entries, entry{name: file, path: file, mode: 0o644})
	}
	archive := base + ".tar.gz"
	pack := packTar
	if goos == "windows" {
		archive, pack = base+".zip", packZip
	}
	if err := pack(filepath.Join(r.out, archive), base, entries, r.time); err != nil {
		return nil, err
	}
	list := base + ".cdx.json"
	if err := writeModules(info, filepath.Join(r.out, list), r.version, r.time); err != nil {
		return nil, err
	}
	return []string{archive, list}, nil
}

// buildArgs returns the arguments of go, which the Dockerfile repeats. They keep paths of this
// machine and the state of its checkout out of the binary.
func buildArgs(version string) []string {
	return []string{
		"build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X " + versionVariable + "=authinject-" + version,
	}
}
