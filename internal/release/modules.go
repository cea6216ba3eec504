package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// bom is a CycloneDX 1.6 document, which lists the modules in a binary.
type bom struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// module returns the description of a Go module.
func module(kind, path, version string) component {
	purl := "pkg:golang/" + strings.ToLower(path) + "@" + url.QueryEscape(version)
	return component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
}

// modulesOf lists the modules that the linker put into the binary. go.mod may list more.
func modulesOf(info *debug.BuildInfo, version string, built time.Time) bom {
	list := bom{
		Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata: metadata{built.Format(time.RFC3339), module("application", info.Main.Path, version)},
	}
	list.Components = append(list.Components, module("library", "std", strings.TrimPrefix(info.GoVersion, "go")))
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		m := module("library", dep.Path, dep.Version)
		if dep.Sum != "" {
			m.Properties = []property{{"go.sum", dep.Sum}}
		}
		list.Components = append(list.Components, m)
	}
	return list
}

func writeModules(info *debug.BuildInfo, path, version string, built time.Time) error {
	return create(path, func(file io.Writer) error {
		enc := json.NewEncoder(file)
		enc.SetIndent("", "  ")
		return enc.Encode(modulesOf(info, version, built))
	})
}

// thirdPartyLicenses returns the license texts and notices of the modules in the binary. They must
// be distributed with it.
func thirdPartyLicenses(ctx context.Context, info *debug.BuildInfo) ([]byte, error) {
	var out bytes.Buffer
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	if err := appendLicenses(&out, "The Go standard library", strings.TrimSpace(string(goroot))); err != nil {
		return nil, err
	}
	args := []string{"list", "-m", "-f", "{{.Dir}}"}
	for _, dep := range info.Deps {
		args = append(args, dep.Path)
	}
	listed, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	dirs := strings.Split(strings.TrimSuffix(string(listed), "\n"), "\n")
	if len(dirs) != len(info.Deps) {
		return nil, fmt.Errorf("go list -m named %d directories for %d modules", len(dirs), len(info.Deps))
	}
	for i, dep := range info.Deps {
		if err := appendLicenses(&out, dep.Path+" "+dep.Version, dirs[i]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// appendLicenses adds the license files of a module's directory. If there are none, it says so.
func appendLicenses(out *bytes.Buffer, title, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%s\n", strings.Repeat("=", 80), title)
	found := false
	for _, file := range files {
		name := strings.ToUpper(file.Name())
		if file.IsDir() || strings.HasSuffix(name, ".GO") ||
			!slices.ContainsFunc([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE"}, func(prefix string) bool {
				return strings.HasPrefix(name, prefix)
			}) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(out, "%s\n%s:\n\n%s\n", strings.Repeat("-", 80), file.Name(), bytes.TrimSpace(text))
	}
	if !found {
		fmt.Fprintln(out, "This module has no license file in its directory.")
	}
	return nil
}
